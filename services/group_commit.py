"""Group commit: batches that arrive while one is being written to the event log are written together by the next.

The cost of durability, a flush to the disk or a round trip with one at its end, is paid once for all that wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log import EventLog
from services.errors import LogFullError, NotDurableError, ThrottledError
from services.metrics import FAILURES, stage

log = logging.getLogger("bentoml.kairos.commit")

MAX_TOGETHER: Final = 2_000
"""Events in one commit, unless a single batch has more: the first in it wait for the last."""
MAX_QUEUED: Final = 10_000
"""Events that may wait for the log: a few seconds' work. More would wait longer than their clients do."""


@dataclass(frozen=True)
class Written:
    """What became of a batch."""

    new: int
    duplicates: int
    position: int | None
    """No event of the batch lies after it in the log; None: they are not in the log that is read, or it is away."""


@dataclass(frozen=True)
class _Batch:
    events: Sequence[Event]
    written: asyncio.Future[Written]


class GroupCommit:
    """Writes batches to the log. One per process, used on one event loop."""

    def __init__(self, events: EventLog) -> None:
        self._log = events
        self._queue: asyncio.Queue[_Batch] = asyncio.Queue()
        self._queued = 0
        # Its own thread: a commit must not stand in line behind models and feature reads.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._is_failing = False

    async def append(self, events: Sequence[Event]) -> Written:
        """Make a batch durable, all of it or nothing.

        Raises:
            ThrottledError: too many events wait already.
            LogFullError: the log has no room.
            NotDurableError: the log cannot be reached or written.
        """
        if self._queued + len(events) > MAX_QUEUED:
            raise ThrottledError("too many events wait to be written; send these again later, fewer at a time")
        batch = _Batch(events, asyncio.get_running_loop().create_future())
        self._queued += len(events)
        self._queue.put_nowait(batch)
        return await batch.written

    async def write_on(self) -> None:
        """Write what arrives, until cancelled."""
        while True:
            group = [await self._queue.get()]
            size = len(group[0].events)
            while not self._queue.empty() and size < MAX_TOGETHER:
                group.append(self._queue.get_nowait())
                size += len(group[-1].events)
            self._queued -= size
            try:
                await self._write(group)
            except asyncio.CancelledError:
                _fail(group, _stopping())
                raise

    def close(self) -> None:
        """Refuse what still waits."""
        while not self._queue.empty():
            _fail([self._queue.get_nowait()], _stopping())
        self._thread.shutdown(wait=True)

    async def _write(self, group: Sequence[_Batch]) -> None:
        events = [event for batch in group for event in batch.events]
        try:
            with stage("append"):
                loop = asyncio.get_running_loop()
                is_new, position = await loop.run_in_executor(self._thread, self._append, events)
        except EventLogFullError as error:
            self._failed(error)
            _fail(group, LogFullError("the event log is full; send the events again later"))
        except EventLogDownError as error:
            self._failed(error)
            _fail(group, NotDurableError("the events could not be made durable; send them again"))
        except Exception:
            # One group that cannot be written must not end the writing of all that come after it.
            log.exception("events could not be written")
            _fail(group, NotDurableError("the events could not be made durable"))
        else:
            if self._is_failing:
                log.info("events are written again")
            self._is_failing = False
            _share(group, is_new, position)

    def _append(self, events: Sequence[Event]) -> tuple[list[bool], int | None]:
        is_new = self._log.append(events)
        try:
            return is_new, None if self._log.spooled() else self._log.last()
        except EventLogDownError:  # the events are durable all the same
            return is_new, None

    def _failed(self, error: Exception) -> None:
        FAILURES.labels("event_log").inc()
        if not self._is_failing:
            log.error("no event can be taken: %s", error)
        self._is_failing = True


def _share(group: Sequence[_Batch], is_new: Sequence[bool], position: int | None) -> None:
    start = 0
    for batch in group:
        new = sum(is_new[start : start + len(batch.events)])
        start += len(batch.events)
        if not batch.written.done():  # else its client has gone
            batch.written.set_result(Written(new, len(batch.events) - new, position))


def _stopping() -> NotDurableError:
    return NotDurableError("the service stops; send the events again")


def _fail(group: Sequence[_Batch], error: Exception) -> None:
    for batch in group:
        if not batch.written.done():
            batch.written.set_exception(error)
