"""The event log on one machine: SQLite in WAL mode, one file, several processes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log.base import Place

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, even after a trim
    event_id TEXT NOT NULL UNIQUE,
    arrived INTEGER NOT NULL, -- microseconds since 1970
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS consumers (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL DEFAULT 0, rewinds INTEGER NOT NULL DEFAULT 0
);
"""
_LOCK_WITHIN_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.004
_ASKED_AT_ONCE: Final = 500
"""Ids per question; SQLite takes a few thousand parameters at most, older ones 999."""
_TRIMMED_AT_ONCE: Final = 5_000
"""Events per transaction, so that nobody waits long to append."""
_COUNTED: Final = 1_000
"""More than this are not counted one by one: it would read every body."""


class SqliteEventLog:
    """See `base.EventLog`.

    Args:
        path: the file; made if it is not there. It must be on a disk of this machine: WAL needs shared memory.
        max_mb: the file grows no larger. What a trim frees is used again; the file does not shrink.
    """

    def __init__(self, path: Path, max_mb: float = 4096) -> None:
        self._path = path
        self._max_mb = max_mb
        self._writing, self._reading = threading.Lock(), threading.Lock()
        with self._reported():
            path.parent.mkdir(parents=True, exist_ok=True)
            # FULL: an acknowledged event survives a power cut.
            self._writer = self._connection("FULL")
            with self._transaction():
                self._prepare()
            # Reads do not wait for the disk, and neither do marks: one lost in a power cut means reading again.
            self._reader = self._connection("NORMAL")

    def append(self, events: Sequence[Event]) -> list[bool]:
        arrived = _microseconds(datetime.now(UTC))
        bodies = [event.model_dump_json(exclude_none=True) for event in events]
        with self._reported(), self._writing, self._transaction():
            known = self._known([event.event_id for event in events])
            new = _first_of_each(events, known)
            self._writer.executemany(
                "INSERT INTO events (event_id, arrived, body) VALUES (?, ?, ?)",
                (
                    (event.event_id, arrived, body)
                    for event, body, is_new in zip(events, bodies, new, strict=True)
                    if is_new
                ),
            )
        return new

    def read(self, after: int, limit: int = 10_000) -> list[tuple[int, Event]]:
        with self._reported(), self._reading:
            rows = self._reader.execute(
                "SELECT position, body FROM events WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
            ).fetchall()
        return [(position, Event.of_log(body)) for position, body in rows]

    def last(self) -> int:
        with self._reported(), self._reading:
            return self._last()

    def wait(self, after: int, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        while self.last() <= after:
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_LOOK_EVERY_S, left))
        return True

    def place(self, consumer: str) -> Place:
        with self._reported(), self._reading:
            return self._place(consumer)

    def mark(self, consumer: str, position: int, *, since: Place) -> None:
        # The writer's lock too: SQLite's own way to wait for a lock sleeps far longer than an append takes.
        with self._reported(), self._writing, self._reading:
            self._reader.execute(
                "INSERT INTO consumers (name, position) VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET position = max(position, excluded.position) WHERE rewinds = ?",
                (consumer, position, since.rewinds),
            )

    def rewind(self, consumer: str, position: int) -> None:
        with self._reported(), self._writing:
            self._writer.execute(
                "INSERT INTO consumers (name, rewinds) VALUES (?, 1) ON CONFLICT (name) "
                "DO UPDATE SET position = min(position, ?), rewinds = rewinds + 1",
                (consumer, position),
            )

    def waiting(self, consumer: str) -> int:
        """As in `base`; beyond 1,000 an upper bound if the file is from before positions were consecutive."""
        with self._reported(), self._reading:
            after = self._place(consumer).position
            counted = self._number(
                "SELECT count(*) FROM (SELECT 1 FROM events WHERE position > ? LIMIT ?)", after, _COUNTED
            )
            if counted < _COUNTED:
                return counted
            first = self._number("SELECT position FROM events WHERE position > ? ORDER BY position LIMIT 1", after)
            return self._last() - first + 1

    def trim(self, before: datetime) -> int:
        moment, trimmed = _microseconds(before), 0
        while True:
            with self._reported(), self._writing, self._transaction():
                removed = self._trim_some(moment)
            trimmed += removed
            if removed < _TRIMMED_AT_ONCE:
                return trimmed

    def forward(self) -> int:
        return 0

    def spooled(self) -> int:
        return 0

    def durability(self) -> None:
        """Every append is synced to the disk."""

    def is_empty(self) -> bool:
        """Whether it holds no event."""
        return self.last() == 0

    def remove(self, up_to: int) -> None:
        """Drop the events up to a position, whoever has read them."""
        with self._reported(), self._writing:
            self._writer.execute("DELETE FROM events WHERE position <= ?", (up_to,))

    def close(self) -> None:
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    # -- within a lock -------------------------------------------------------------------------------

    def _known(self, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            part = ids[start : start + _ASKED_AT_ONCE]
            query = f"SELECT event_id FROM events WHERE event_id IN ({','.join('?' * len(part))})"
            found.update(row[0] for row in self._writer.execute(query, part))
        return found

    def _trim_some(self, moment: int) -> int:
        """The oldest of those that may go: up to the first that arrived later or is unread."""
        rows = self._writer.execute(
            "SELECT position, arrived FROM events WHERE position <= "
            "coalesce((SELECT min(position) FROM consumers), 9223372036854775807) ORDER BY position LIMIT ?",
            (_TRIMMED_AT_ONCE,),
        ).fetchall()
        count = next((index for index, (_, arrived) in enumerate(rows) if arrived >= moment), len(rows))
        if count:
            self._writer.execute("DELETE FROM events WHERE position <= ?", (rows[count - 1][0],))
        return count

    def _place(self, consumer: str) -> Place:
        row = self._reader.execute("SELECT position, rewinds FROM consumers WHERE name = ?", (consumer,)).fetchone()
        return Place(*row) if row else Place()

    def _last(self) -> int:
        return self._number("SELECT coalesce(max(position), 0) FROM events")

    def _number(self, query: str, *parameters: int) -> int:
        return int(self._reader.execute(query, parameters).fetchone()[0])

    # -- the file ------------------------------------------------------------------------------------

    def _connection(self, synchronous: str) -> sqlite3.Connection:
        # autocommit: transactions are opened by hand.
        db = sqlite3.connect(self._path, check_same_thread=False, timeout=_LOCK_WITHIN_S, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        page = db.execute("PRAGMA page_size").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={max(int(self._max_mb * 2**20) // page, 1)}")
        return db

    def _prepare(self) -> None:
        for statement in _TABLES.split(";"):
            self._writer.execute(statement)
        columns = {row[1] for row in self._writer.execute("PRAGMA table_info(events)")}
        if "arrived" not in columns:  # a file of before retention: what it holds counts as having arrived now
            now = _microseconds(datetime.now(UTC))
            self._writer.execute(f"ALTER TABLE events ADD COLUMN arrived INTEGER NOT NULL DEFAULT {now}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:  # a full disk ends it by itself
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise EventLogFullError(
                    f"{self._path} has no room ({error}): free space on its disk, raise KAIROS_EVENT_LOG_MB (now "
                    f"{self._max_mb:g}), or ingest the events (`kairos ingest --connector event-log`), so that old "
                    f"ones can go"
                ) from error
            raise EventLogDownError(
                f"{self._path} cannot be read or written: {error}; see that the folder is writable, is on a disk of "
                f"this machine, and that nothing else holds the file"
            ) from error
        except OSError as error:
            raise EventLogDownError(f"{self._path} cannot be made: {error}") from error


def _first_of_each(events: Sequence[Event], known: set[str]) -> list[bool]:
    """For each event, whether its id is new and none before it has the same."""
    seen, new = set(known), []
    for event in events:
        new.append(event.event_id not in seen)
        seen.add(event.event_id)
    return new


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
