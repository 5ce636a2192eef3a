"""What a share of the requests were answered, from what they read to what was shown, kept for those who come later:
the parity check compares what was read with the lake, a replay ranks again, an experiment reads who was shown what.

A SQLite file in WAL mode that only its owner may read: it holds what people did. It is bounded in size and age.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from infra.settings import Settings

_TABLE: Final = """
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
_ADDED: Final = (
    "ALTER TABLE requests ADD COLUMN answer BLOB",
    "ALTER TABLE requests ADD COLUMN item_rows BLOB",
    "CREATE INDEX requests_by_id ON requests (request_id)",
)
"""What the table of the first version lacks. Columns are only ever added: an older service writes on."""
_VERSION: Final = 1
"""`user_version` of a file that has all of it."""
_COLUMNS: Final = "request_id, user_id, at_us, model, applied, row, answer, item_rows"
_DROP_A_TENTH: Final = """
DELETE FROM requests WHERE position <= (SELECT (9 * min(position) + max(position)) / 10 FROM requests)
"""
_AT_ONCE: Final = 200
"""Requests in memory while the log is read."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class LoggedList:
    """A user's earlier answer, which a later one was made from.

    Attributes:
        items: item ids, best first.
        scores: of each.
        had: those of the items that were not new to the user.
    """

    items: tuple[str, ...]
    scores: tuple[float, ...]
    had: tuple[str, ...]


@dataclass(frozen=True)
class LoggedAnswer:
    """What was asked, and what was shown.

    Attributes:
        endpoint: the path that was asked.
        variant: of the experiment, if there is one.
        step: the rung of the ladder that answered, as in `served_by`.
        asked: the fields of a `models.recommender.Ask` but for the user's state.
        items: item ids, best first: an item's place is its position.
        scores: of each.
        propensities: of each, the probability with which the policy in service shows it there; 1 where nothing is
            left to chance.
        last: the user's earlier answer, if it was looked at.
    """

    endpoint: str
    variant: str
    step: str
    asked: Mapping[str, Any]
    items: tuple[str, ...]
    scores: tuple[float, ...]
    propensities: tuple[float, ...]
    last: LoggedList | None = None


@dataclass(frozen=True)
class LoggedRequest:
    """One request.

    Attributes:
        user_id: empty where the request named nobody.
        at: the service's clock, UTC.
        model: tag of the bundle that answered.
        applied: position in the event log up to which the features knew the events when the row was read.
        values: `view:feature` -> what the model was given; empty: nothing was read, of nobody or of a store that was
            down.
        moments: view -> the moment that its row was true for; views without a row are missing.
        answer: None in what was logged before answers were.
        item_rows: what the ranking read of the item table, as `models.item_rows` packs it.
    """

    request_id: str
    user_id: str
    at: datetime
    model: str
    applied: int
    values: Mapping[str, Any] = field(default_factory=dict)
    moments: Mapping[str, datetime] = field(default_factory=dict)
    answer: LoggedAnswer | None = None
    item_rows: bytes | None = None


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
        self._bring_up_to_date()

    @classmethod
    def of(cls, settings: Settings) -> RequestLog:
        """The installation's."""
        return cls(settings.request_log, max_mb=settings.request_log_mb, max_days=settings.request_log_days)

    def append(self, requests: Sequence[LoggedRequest]) -> None:
        """Keep requests; what is too old or too much goes."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                f"INSERT INTO requests ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_as_row, requests)
            )
            oldest = max(request.at for request in requests) - self._max_age
            self._db.execute("DELETE FROM requests WHERE at_us < ?", (_us(oldest),))
            while self._bytes() > self._max_bytes and self._db.execute(_DROP_A_TENTH).rowcount:
                pass

    def find(self, request_id: str) -> LoggedRequest | None:
        """One request; None: it was not of the sample, or is gone."""
        found = self._rows("WHERE request_id = ? LIMIT 1", (request_id,))
        return _as_request(found[0][1:]) if found else None

    def newest(self, limit: int) -> Iterator[LoggedRequest]:
        """The requests logged last that read features, newest first."""
        for _, *row in self._rows("WHERE length(row) > 0 ORDER BY position DESC LIMIT ?", (limit,)):
            yield _as_request(row)

    def models(self) -> set[str]:
        """Tags of the bundles that answered."""
        with self._lock:
            return {tag for (tag,) in self._db.execute("SELECT DISTINCT model FROM requests")}

    def read(self, since: datetime | None = None) -> Iterator[LoggedRequest]:
        """Every request in the order of logging, a few in memory at a time; those logged meanwhile, too.

        Args:
            since: only those of this moment or later.
        """
        position, first = 0, _us(since or _EPOCH)
        while rows := self._rows(
            "WHERE position > ? AND at_us >= ? ORDER BY position LIMIT ?", (position, first, _AT_ONCE)
        ):
            position = rows[-1][0]
            for _, *row in rows:
                yield _as_request(row)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _rows(self, which: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Position and columns."""
        with self._lock:
            return self._db.execute(f"SELECT position, {_COLUMNS} FROM requests {which}", parameters).fetchall()

    def _bring_up_to_date(self) -> None:
        """A new file gets its table, and one that is older what it lacks; what it holds stays."""
        if self._version() >= _VERSION:
            return
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if self._version() >= _VERSION:  # another process was faster
                return
            for statement in (_TABLE, *_ADDED, f"PRAGMA user_version = {_VERSION}"):
                self._db.execute(statement)

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _bytes(self) -> int:
        """What the file needs; pages that were freed are used again."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _as_row(request: LoggedRequest) -> tuple[Any, ...]:
    read = b""
    if request.values:
        moments = {view: moment.isoformat() for view, moment in request.moments.items()}
        read = _packed([dict(request.values), moments])
    answer = None
    if (told := request.answer) is not None:
        last = told.last and [told.last.items, told.last.scores, told.last.had]
        about = [told.endpoint, told.variant, told.step, dict(told.asked)]
        answer = _packed([*about, told.items, told.scores, told.propensities, last])
    known = (request.request_id, request.user_id, _us(request.at), request.model, request.applied)
    return (*known, read, answer, request.item_rows)


def _as_request(row: Sequence[Any]) -> LoggedRequest:
    request_id, user, at_us, model, applied, read, told, item_rows = row
    values, moments = json.loads(zlib.decompress(read)) if read else ({}, {})
    answer = None
    if told is not None:
        endpoint, variant, step, asked, *lists, last = json.loads(zlib.decompress(told))
        items, scores, propensities = map(tuple, lists)
        last = last and LoggedList(*map(tuple, last))
        answer = LoggedAnswer(endpoint, variant, step, asked, items, scores, propensities, last)
    at = _EPOCH + at_us * _MICROSECOND
    true_for = {view: datetime.fromisoformat(moment) for view, moment in moments.items()}
    return LoggedRequest(request_id, user, at, model, applied, values, true_for, answer, item_rows)


def _packed(content: Any) -> bytes:
    # A set of items is a list in the log.
    return zlib.compress(json.dumps(content, separators=(",", ":"), default=list).encode(), 1)
