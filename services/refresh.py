"""Keeps the item features fresh: a process of its own works them out every minute, by this service's clock.

A process, because the work takes seconds of processor time, and Python runs one thread of a process at a time: in
here every request would feel it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process

from feature_repo.clock import Clock
from feature_repo.file_lock import try_lock
from feature_repo.refresh import TURN
from infra.settings import Settings, environment
from services.metrics import REFRESHES

log = logging.getLogger("bentoml.kairos.refresh")

REFRESH_EVERY_S = 60.0
REFRESH_WITHIN_S = 600.0
"""A refresh that takes longer hangs; its process is ended, and the next one starts another."""


class ItemRefresh:
    """Asks the worker for a refresh every minute; starts it when needed. One per worker of the service."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._worker: Process | None = None
        self._trouble = ""

    async def keep_up(self) -> None:
        """Refresh at once, then every minute, until cancelled. Whatever fails is tried again a minute later.

        Of several workers with one home one does it, and another when that one is gone.
        """
        self._settings.home.mkdir(parents=True, exist_ok=True)
        with (self._settings.home / TURN).open("a") as turn:
            try:
                while True:
                    began = asyncio.get_running_loop().time()
                    if try_lock(turn.fileno()):
                        await self._refresh()
                    took = asyncio.get_running_loop().time() - began
                    await asyncio.sleep(max(REFRESH_EVERY_S - took, 0.0))
            finally:
                await self._end()

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_WITHIN_S):
                answer = await self._ask()
        except (OSError, ValueError, EOFError) as error:  # a timeout is an OSError
            await self._end()
            answer = {"error": f"the worker failed: {type(error).__name__}: {error}"}
        trouble = str(answer.get("error", ""))
        REFRESHES.labels("failed" if trouble else "done").inc()
        if trouble and trouble != self._trouble:
            log.warning("the item features are not refreshed: %s", trouble)
        self._trouble = trouble

    async def _ask(self) -> dict[str, object]:
        if self._worker is None:
            self._worker = await self._start()
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(f"{self._clock.now().isoformat()}\n".encode())
        await self._worker.stdin.drain()
        line = await self._worker.stdout.readline()
        if not line:
            raise EOFError(f"it ended with code {await self._worker.wait()}")
        answer: dict[str, object] = json.loads(line)
        return answer

    async def _start(self) -> Process:
        command = [sys.executable, "-m", "feature_repo.refresh_worker"]
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment(self._settings))

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None and worker.returncode is None:
            worker.kill()  # at whatever point: what it writes is whole or not there
            await worker.wait()
