"""How far the features are behind the event log, as every worker of the service sees it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from feature_repo.errors import EventLogDownError
from feature_repo.event_log import FEATURES_CONSUMER, EventLog
from services.metrics import FAILURES, WAITING

log = logging.getLogger("bentoml.kairos.progress")

LOOK_EVERY_S: Final = 1.0
LOOK_SOON_S: Final = 0.003
"""While somebody waits: about what a look costs, thirty times over."""


class Progress:
    """Watches the features' place in the log. One per process, used on one event loop."""

    def __init__(self, events: EventLog) -> None:
        self._log = events
        self.applied = 0
        """Position in the log up to which the features know the events, or from before."""
        self.waiting = 0
        """Events that the features do not know, as of the last look, and those that were appended here since."""
        self._moved = asyncio.Event()
        self._awaited = asyncio.Event()
        self._waiters = 0
        self._is_failing = False

    @property
    def is_known(self) -> bool:
        """Whether the last look at the log worked."""
        return not self._is_failing

    def appended(self, count: int) -> None:
        self.waiting += count

    def reached(self, position: int) -> None:
        """The features know the events up to this position; or have lost those after it, to be applied again."""
        if position != self.applied:
            self.applied = position
            self._moved.set()
            self._moved = asyncio.Event()

    async def until(self, position: int, within_s: float) -> bool:
        """Whether the features know the events up to a position; waits for it, but not longer than `within_s`."""
        self._waiters += 1
        self._awaited.set()
        try:
            async with asyncio.timeout(within_s):
                while self.applied < position:
                    await self._moved.wait()
        except TimeoutError:
            return False
        finally:
            self._waiters -= 1
        return True

    async def count(self) -> int:
        """Events that the features do not know now; if the log is down, when it last was not."""
        try:
            self.waiting = await asyncio.to_thread(self._waiting)
        except EventLogDownError as error:
            self._failed(error)
        else:
            self._is_failing = False
        return self.waiting

    async def watch(self) -> None:
        """Look now and then, and often while somebody waits, until cancelled."""
        counted = -LOOK_EVERY_S
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - counted >= LOOK_EVERY_S:
                counted = loop.time()
                WAITING.set(await self.count())
            await self._look()
            if self._waiters:
                await asyncio.sleep(LOOK_SOON_S)
                continue
            self._awaited.clear()
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._awaited.wait()
            except TimeoutError:
                pass

    def _waiting(self) -> int:
        return self._log.spooled() + self._log.waiting(FEATURES_CONSUMER)

    async def _look(self) -> None:
        try:
            place = await asyncio.to_thread(self._log.place, FEATURES_CONSUMER)
        except EventLogDownError as error:
            self._failed(error)
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            self._is_failing = False
            self.reached(place.position)

    def _failed(self, error: Exception) -> None:
        FAILURES.labels("event_log").inc()
        if not self._is_failing:
            log.error("nobody knows how far the features are: %s", error)
        self._is_failing = True
