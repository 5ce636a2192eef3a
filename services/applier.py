"""Keeps the process running that applies events to the features, or waits to take its turn at that."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Any, Final

from feature_repo.clock import Clock
from infra.settings import Settings, environment
from services.metrics import FAILURES, STAGES

log = logging.getLogger("bentoml.kairos.applier")

RESTART_AFTER_S: Final = 1.0


class Applier:
    """Starts the process, listens to it, and starts another when it ends. One per service process."""

    def __init__(self, settings: Settings, clock: Clock, reached: Callable[[int], None]) -> None:
        """
        Args:
            reached: told the position in the log up to which the features know the events.
        """
        # Its clock is this one, also where the settings leave open when that began.
        self._settings = settings.model_copy(update={"clock_began": clock.began})
        self._reached = reached
        self.process: Process | None = None
        """The one that runs."""
        self._is_failing = False

    async def keep_up(self) -> None:
        """Have it run, until cancelled."""
        try:
            while True:
                await self._run()
                await asyncio.sleep(RESTART_AFTER_S)
        finally:
            if self.process is not None and self.process.returncode is None:
                self.process.kill()  # at whatever point: what it has not marked is applied again
                await self.process.wait()

    async def _run(self) -> None:
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "feature_repo.apply_worker",
                stdin=PIPE,
                stdout=PIPE,
                env=environment(self._settings),
            )
        except OSError as error:
            self._failed(f"cannot be started: {error}")
            return
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self._heard(json.loads(line))
        except (ValueError, LookupError, TypeError):  # whatever else was printed among its answers
            self.process.kill()
            log.warning("the process that applies events said what is none of its answers")
        self._failed(f"ended with code {await self.process.wait()}")

    def _heard(self, told: dict[str, Any]) -> None:
        if "position" in told:
            self._reached(told["position"])
            if told["events"]:
                STAGES.labels("apply").observe(told["seconds"])
            self._is_failing = False
        elif "unappliable" in told:
            FAILURES.labels("unappliable_event").inc()
            log.error("an event cannot be applied and is left to the batch path: %s", told["unappliable"])
        elif told["trouble"]:
            FAILURES.labels("online_store").inc()
            log.error("events wait for the features: %s", told["trouble"])
        else:
            log.info("events reach the features again")

    def _failed(self, why: str) -> None:
        FAILURES.labels("applier").inc()
        if not self._is_failing:
            log.error("the process that applies events %s; starting another until one stays", why)
        self._is_failing = True
