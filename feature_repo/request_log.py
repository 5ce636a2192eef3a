"""What a share of the requests read from the online store, kept to be compared with the lake later.

A SQLite file in WAL mode that only its owner may read: it holds what people did. It is bounded in size and age.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from infra.settings import Settings

_TABLE = """
CREATE TABLE IF NOT EXISTS requests (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    model TEXT NOT NULL,
    applied INTEGER NOT NULL,
    row BLOB NOT NULL
) STRICT
"""
_DROP_A_TENTH: Final = """
DELETE FROM requests WHERE position <= (SELECT (9 * min(position) + max(position)) / 10 FROM requests)
"""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class LoggedRequest:
    """One request's features.

    Attributes:
        at: the service's clock, UTC.
        model: tag of the bundle that answered.
        applied: position in the event log up to which the features knew the events when the row was read.
        values: `view:feature` -> what the model was given.
        moments: view -> the moment that its row was true for; views without a row are missing.
    """

    request_id: str
    user_id: str
    at: datetime
    model: str
    applied: int
    values: Mapping[str, Any]
    moments: Mapping[str, datetime]


class RequestLog:
    """Append, forget the oldest, read. Safe to use from several threads and processes.

    Args:
        max_mb: the oldest requests go when the file would be larger.
        max_days: older ones go at the next append.
    """

    def __init__(self, path: Path, *, max_mb: float, max_days: float) -> None:
        self._max_bytes = int(max_mb * 1e6)
        self._max_age = timedelta(days=max_days)
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite gives its files beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")  # after a power cut the newest may be missing, none is torn
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.execute(_TABLE)

    @classmethod
    def of(cls, settings: Settings) -> RequestLog:
        """The installation's."""
        return cls(settings.request_log, max_mb=settings.request_log_mb, max_days=settings.request_log_days)

    def append(self, requests: Sequence[LoggedRequest]) -> None:
        """Keep requests; what is too old or too much goes."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO requests (request_id, user_id, at_us, model, applied, row) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (r.request_id, r.user_id, (r.at - _EPOCH) // _MICROSECOND, r.model, r.applied, _packed(r))
                    for r in requests
                ),
            )
            oldest = max(request.at for request in requests) - self._max_age
            self._db.execute("DELETE FROM requests WHERE at_us < ?", ((oldest - _EPOCH) // _MICROSECOND,))
            while self._bytes() > self._max_bytes and self._db.execute(_DROP_A_TENTH).rowcount:
                pass

    def newest(self, limit: int) -> Iterator[LoggedRequest]:
        """The requests logged last, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT request_id, user_id, at_us, model, applied, row FROM requests ORDER BY position DESC LIMIT ?",
                (limit,),
            ).fetchall()
        for request_id, user, at_us, model, applied, row in rows:
            values, moments = _unpacked(row)
            yield LoggedRequest(request_id, user, _EPOCH + at_us * _MICROSECOND, model, applied, values, moments)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _bytes(self) -> int:
        """What the file needs; pages that were freed are used again."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def _packed(request: LoggedRequest) -> bytes:
    moments = {view: moment.isoformat() for view, moment in request.moments.items()}
    return zlib.compress(json.dumps([dict(request.values), moments], separators=(",", ":")).encode(), 1)


def _unpacked(row: bytes) -> tuple[dict[str, Any], dict[str, datetime]]:
    values, moments = json.loads(zlib.decompress(row))
    return values, {view: datetime.fromisoformat(moment) for view, moment in moments.items()}
