"""An event log that other machines share, with a spool on this one's disk for when it is away.

The rule that keeps a user's order: while the spool holds anything, everything goes into the spool. What it holds moves
on in the order of arrival and is removed after the shared log has it. A process that is killed in between, or two that
move the same events, send some again, which the shared log knows by their ids.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log.base import EventLog, Place
from feature_repo.event_log.reading import unread
from feature_repo.event_log.sqlite import SqliteEventLog
from feature_repo.file_lock import try_lock

log = logging.getLogger("bentoml.kairos.event_log")

REST_S: Final = 1.0
"""After a failure nobody in this process tries the shared log for so long."""
MOVED_AT_ONCE: Final = 500


class SpooledEventLog:
    """See `base.EventLog`. An event counts as new when it goes into the spool, though the shared log may know it.

    Args:
        shared: the log of all machines. Everything but appending is asked of it alone, and fails while it is away.
        spool: file for this machine's processes, on its own disk; made when it is first needed.
        max_mb: the spool grows no larger; then appends fail until the shared log is back.
    """

    def __init__(self, shared: EventLog, spool: Path, max_mb: float) -> None:
        self._shared = shared
        self._path = spool
        self._max_mb = max_mb
        self._opening = threading.Lock()
        self._opened: SqliteEventLog | None = None
        self._rest_until = 0.0
        self._is_away = False

    def append(self, events: Sequence[Event]) -> list[bool]:
        if self._is_empty() and not self._rests():
            try:
                new = self._shared.append(events)
                self._is_away = False
                return new
            except (EventLogDownError, EventLogFullError) as error:
                self._failed(error)
        return self._spool.append(events)

    def forward(self) -> int:
        moved = 0
        if self._rests() or self._is_empty():
            return moved
        with self._turn() as is_ours:
            # In pieces until nothing is left, or new events would go into the spool for ever.
            for events in unread(self._spool, 0, MOVED_AT_ONCE) if is_ours else ():
                try:
                    self._shared.append([event for _, event in events])
                except (EventLogDownError, EventLogFullError) as error:
                    self._failed(error)
                    return moved
                self._spool.remove(events[-1][0])
                moved += len(events)
        if moved:
            log.info("moved %d events from %s into the event log", moved, self._path)
            self._is_away = False
        return moved

    def spooled(self) -> int:
        return 0 if self._is_unused() else self._spool.waiting("")

    def read(self, after: int, limit: int = 10_000) -> list[tuple[int, Event]]:
        return self._shared.read(after, limit)

    def last(self) -> int:
        return self._shared.last()

    def wait(self, after: int, timeout_s: float) -> bool:
        return self._shared.wait(after, timeout_s)

    def place(self, consumer: str) -> Place:
        return self._shared.place(consumer)

    def mark(self, consumer: str, position: int, *, since: Place) -> None:
        self._shared.mark(consumer, position, since=since)

    def rewind(self, consumer: str, position: int) -> None:
        self._shared.rewind(consumer, position)

    def waiting(self, consumer: str) -> int:
        return self._shared.waiting(consumer)

    def trim(self, before: datetime) -> int:
        return self._shared.trim(before)

    def durability(self) -> str | None:
        return self._shared.durability()

    def close(self) -> None:
        self._shared.close()
        if self._opened:
            self._opened.close()

    @property
    def _spool(self) -> SqliteEventLog:
        # Jobs on other machines only read; they must not open a file that may be on a disk they share with this one.
        with self._opening:
            if self._opened is None:
                self._opened = SqliteEventLog(self._path, self._max_mb)
            return self._opened

    def _is_empty(self) -> bool:
        return self._is_unused() or self._spool.is_empty()

    def _is_unused(self) -> bool:
        # Not opened before it is needed: a disk that is full or cannot be written is no reason to refuse events.
        return self._opened is None and not self._path.exists()

    def _rests(self) -> bool:
        return time.monotonic() < self._rest_until

    def _failed(self, error: Exception) -> None:
        self._rest_until = time.monotonic() + REST_S
        if not self._is_away:
            log.warning("events go into %s until the event log is back: %s", self._path, error)
        self._is_away = True

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Whether no other process or thread moves the spool; two at once would do no harm, only the work twice."""
        with self._path.with_name(f"{self._path.name}.lock").open("a") as file:
            yield try_lock(file.fileno())
