"""A copy of a lake, cut in time, with online and offline stores that nobody else uses. Nothing of it stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from feature_repo import schema as s
from feature_repo.errors import ReplayTooLongError
from feature_repo.lake import Lake
from feature_repo.store import Features
from infra.settings import Settings

ARRIVING = "arriving.parquet"


@dataclass(frozen=True)
class Scratch:
    """Two installations.

    Attributes:
        online: its lake ends before the cut, until `all_arrived`.
        offline: its lake has all the events.
        cut: the last moment before the arriving events.
    """

    online: Features
    offline: Features
    cut: datetime

    @property
    def arriving(self) -> Path:
        """The events after the cut, oldest first."""
        return self.offline.settings.lake / "events" / ARRIVING

    def all_arrived(self) -> None:
        """Let the online installation's lake have the arriving events, as after an ingest."""
        os.link(self.arriving, self.online.settings.lake / "events" / ARRIVING)


@contextmanager
def scratch_of(settings: Settings, events: int, users: int | None) -> Iterator[Scratch]:
    """Cut the installation's lake before its newest `events` events.

    The online store is of the profile's kind, under a project of its own.

    Args:
        users: how many users to look at, with nobody else's events; None: all.

    Raises:
        EmptyLakeError: the lake holds no events.
        ReplayTooLongError: it holds no event before those.
    """
    Lake(settings.lake).prepare()
    with tempfile.TemporaryDirectory(prefix="kairos-parity-") as folder:
        project = f"{settings.project}_{Path(folder).name.rpartition('-')[2].lower()}"
        own = {"project": project, "registry": None, "registry_type": "file", "event_stream": "sqlite"}
        online = settings.model_copy(update={**own, "home": Path(folder, "online")})
        offline = settings.model_copy(update={**own, "home": Path(folder, "offline"), "online_store": "sqlite"})
        cut = _cut(Lake(settings.lake), Lake(online.lake), Lake(offline.lake), events, users)
        opened = Features.open(online)
        try:
            yield Scratch(opened, Features.open(offline), cut)
        finally:
            opened.feast.teardown()


def _cut(lake: Lake, known: Lake, whole: Lake, events: int, users: int | None) -> datetime:
    for copy in (known, whole):
        (copy.root / "events").mkdir(parents=True)
        for table in ("items", "users"):
            (copy.root / f"{table}.parquet").symlink_to((lake.root / f"{table}.parquet").absolute())
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE VIEW lake AS {lake.events_sql}")
    chosen = ""
    if users is not None:
        # By a hash: the same users every time, and not the first who came.
        sample = f"SELECT {s.USER_ID} FROM lake GROUP BY 1 ORDER BY hash({s.USER_ID}) LIMIT {users}"
        chosen = f" AND {s.USER_ID} IN ({sample})"
    telling = f"SELECT {s.TIMESTAMP} AS t FROM lake WHERE {s.EVENT_TYPE} <> '{s.IMPRESSION}'{chosen}"
    [(found, start)] = con.execute(
        f"SELECT count(*), min(t) FROM (SELECT * FROM ({telling}) ORDER BY t DESC LIMIT {events})"
    ).fetchall()
    [(before,)] = con.execute(f"SELECT count(*) FROM ({telling}) WHERE t < ?", [start]).fetchall() if found else [(0,)]
    if not before:
        raise ReplayTooLongError(
            f"a replay of {events:,} events needs events before them, and the lake holds {found:,} in all"
            + (f" of {users:,} users: choose more" if users is not None else "")
            + ": ask for fewer --events"
        )
    for file, when in ((known.root / "events" / "known.parquet", "<"), (whole.root / "events" / ARRIVING, ">=")):
        rows = f"SELECT * FROM lake WHERE {s.TIMESTAMP} {when} '{start}'{chosen} ORDER BY {s.TIMESTAMP}, {s.EVENT_ID}"
        con.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
    os.link(known.root / "events" / "known.parquet", whole.root / "events" / "known.parquet")
    con.close()
    return start - timedelta(microseconds=1)
