"""The durable log of arriving events: SQLite in WAL mode, one file, several processes.

An event is in the log once, whatever how often it is sent. Consumers remember how far they have read,
so that nothing between the log and the features, or the log and the lake, is lost by a crash.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feature_repo.event import Event

FEATURES_CONSUMER = "features"
INGEST_CONSUMER = "ingest"

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS consumers (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL DEFAULT 0, rewinds INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True)
class Place:
    """How far a consumer has read, and how often it was told to read again."""

    position: int = 0
    rewinds: int = 0


class SqliteEventLog:
    """Append, read on, remember. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        # autocommit: transactions are opened by hand, around each append.
        self._db = sqlite3.connect(path, check_same_thread=False, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # an acknowledged event survives a power cut
        self._db.executescript(_TABLES)

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Make events durable.

        Returns:
            Those that were not in the log before.
        """
        new = []
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for event in events:
                    row = (event.event_id, event.model_dump_json(exclude_none=True))
                    new.append(bool(self._db.execute("INSERT OR IGNORE INTO events (event_id, body) VALUES (?, ?)", row).rowcount))
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return new

    def read(self, after: int, limit: int = 10_000) -> list[tuple[int, Event]]:
        with self._lock:
            rows = self._db.execute(
                "SELECT position, body FROM events WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
            ).fetchall()
        return [(at, Event.model_validate_json(body)) for at, body in rows]

    def last(self) -> int:
        with self._lock:
            return self._db.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0]

    def wait(self, after: int, timeout_s: float) -> bool:
        import time
        end = time.monotonic() + timeout_s
        while self.last() <= after:
            if time.monotonic() > end: return False
            time.sleep(0.002)
        return True

    def mark(self, consumer: str, position: int, *, since: Place) -> None:
        """Remember that the consumer is done up to `position`, having begun at the place `since`.

        If it was rewound meanwhile, that stands: it has to read again.
        """
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO consumers (name) VALUES (?)", (consumer,))
            self._db.execute(
                "UPDATE consumers SET position = max(position, ?) WHERE name = ? AND rewinds = ?",
                (position, consumer, since.rewinds),
            )

    def place(self, consumer: str) -> Place:
        """Where the consumer is."""
        with self._lock:
            return self._place(consumer)

    def rewind(self, consumer: str, position: int) -> None:
        """Let a consumer read again what lies after `position`."""
        with self._lock:
            self._db.execute(
                "UPDATE consumers SET position = min(position, ?), rewinds = rewinds + 1 WHERE name = ?",
                (position, consumer),
            )

    def waiting(self, consumer: str) -> int:
        """How many events the consumer has still to read."""
        with self._lock:
            query = "SELECT count(*) FROM events WHERE position > ?"
            return int(self._db.execute(query, (self._place(consumer).position,)).fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def _place(self, consumer: str) -> Place:
        row = self._db.execute("SELECT position, rewinds FROM consumers WHERE name = ?", (consumer,)).fetchone()
        return Place(*row) if row else Place()
