"""The SQLite log alone: its file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event_log import Place
from feature_repo.event_log.sqlite import SqliteEventLog

from .logs import event, ids

OLDER_LAYOUT = """
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL
);
CREATE TABLE consumers (name TEXT PRIMARY KEY, position INTEGER NOT NULL DEFAULT 0, rewinds INTEGER NOT NULL DEFAULT 0);
INSERT INTO consumers VALUES ('features', 3, 1);
"""


def test_a_file_of_before_retention_opens(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "events.db")) as db, db:
        db.executescript(OLDER_LAYOUT)
        rows = [(n, str(n), event(n).model_dump_json(exclude_none=True)) for n in (1, 3, 7)]  # with gaps
        db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
    before = datetime.now(UTC)
    for _ in range(2):
        with closing(SqliteEventLog(tmp_path / "events.db")) as log:
            assert ids(log.read(0)) == ["1", "3", "7"]
            assert (log.place("features"), log.waiting("features"), log.waiting("ingest")) == (Place(3, 1), 1, 3)
            assert log.append([event(3)]) == [False]
            assert log.trim(before) == 0  # they count as having arrived when it was opened
    with closing(SqliteEventLog(tmp_path / "events.db")) as log:
        assert log.trim(before + timedelta(hours=1)) == 2


def fill(log: SqliteEventLog) -> None:
    for start in range(0, 100_000, 50):
        log.append([event(n) for n in range(start, start + 50)])


def test_a_full_file_says_so_and_works_again_after_a_trim(tmp_path: Path) -> None:
    with closing(SqliteEventLog(tmp_path / "events.db", max_mb=0.5)) as log:
        with pytest.raises(EventLogFullError, match=r"events.db has no room.*KAIROS_EVENT_LOG_MB \(now 0.5\)"):
            fill(log)
        appended = log.waiting("features")
        assert appended > 1_000
        assert (tmp_path / "events.db").stat().st_size <= 2**19
        with closing(SqliteEventLog(tmp_path / "events.db", max_mb=0.5)) as other, pytest.raises(EventLogFullError):
            other.append([event(-n) for n in range(1, 200)])
        log.mark("features", log.read(0)[-10][0], since=Place())
        assert log.trim(datetime.now(UTC) + timedelta(hours=1)) == appended - 9
        assert all(log.append([event(n) for n in range(appended, appended + 50)]))
        assert log.waiting("features") == 59


def test_what_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("something else " * 1_000)
    with pytest.raises(EventLogDownError, match=r"events.db cannot be read or written: file is not a database"):
        SqliteEventLog(tmp_path / "events.db")


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EventLogDownError, match=r"events.db cannot be made"):
        SqliteEventLog(tmp_path / "file" / "events.db")
