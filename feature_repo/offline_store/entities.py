"""The entity frame: the rows that ask, each with its moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa
from feast.errors import EntityTimestampInferenceException
from feast.infra.offline_stores.offline_utils import DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL

from feature_repo.offline_store import times
from feature_repo.offline_store.connection import ident
from feature_repo.offline_store.errors import EntityFrameError

TABLE: Final = "entity"
"""Holds the frame in DuckDB, in its order; `rowid` counts from 0."""

EntityFrame: TypeAlias = pd.DataFrame | pa.Table | str


@dataclass(frozen=True)
class Entities:
    """An entity frame in DuckDB's table `entity`."""

    types: Mapping[str, str]
    """Column to its SQL type."""
    timestamp: str
    """The column with the row's moment."""
    span: tuple[int, int] | None
    """No moment lies outside it, in microseconds since 1970; None: there are no moments."""

    @property
    def time_type(self) -> str:
        return self.types[self.timestamp]

    def epoch(self, unit: times.Unit) -> str:
        return times.epoch(ident(self.timestamp), self.time_type, unit)

    def type_of(self, key: str) -> str:
        """Raises: EntityFrameError: there is no such column."""
        if key not in self.types:
            raise EntityFrameError(f"the entity frame has no join key {key!r}; it has {', '.join(self.types)}")
        return self.types[key]


def frame_sql(con: duckdb.DuckDBPyConnection, frame: EntityFrame) -> str:
    """SQL that reads the frame."""
    if isinstance(frame, str):
        return f"({frame.strip().rstrip(';')})"
    con.register("entity_frame", _arrow(frame) if isinstance(frame, pd.DataFrame) else frame)
    return "entity_frame"


def load(con: duckdb.DuckDBPyConnection, frame: EntityFrame) -> Entities:
    """Copy the frame into DuckDB, which may put it on disk.

    Raises:
        EntityTimestampInferenceException: no column `event_timestamp`, and not exactly one time column instead.
    """
    con.execute(f"CREATE TEMP TABLE {TABLE} AS SELECT * FROM {frame_sql(con, frame)}")
    con.unregister("entity_frame")
    return describe(con, TABLE)


def describe(con: duckdb.DuckDBPyConnection, sql: str) -> Entities:
    """The columns of the frame that `sql` reads, which of them is its time, and what span that covers."""
    rows = con.sql(f"SELECT * FROM {sql}")
    types = {name: str(kind) for name, kind in zip(rows.columns, rows.types, strict=True)}
    timestamp = _timestamp(types)
    t = times.epoch(ident(timestamp), types[timestamp], "us")
    oldest, newest = con.execute(f"SELECT min({t}), max({t}) FROM {sql}").fetchall()[0]
    # A nanosecond less or more than a microsecond: the span is wide enough for both.
    return Entities(types, timestamp, None if oldest is None else (oldest - 1, newest + 1))


def _timestamp(types: Mapping[str, str]) -> str:
    if DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL in types:
        return DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL
    found = [name for name, kind in types.items() if times.is_time(kind)]
    if len(found) != 1:
        raise EntityTimestampInferenceException(DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL)
    return found[0]


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """As Feast: moments given as strings, or in several zones, become one UTC column."""
    name = DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL
    if name in frame and not pd.api.types.is_datetime64_any_dtype(frame[name]):
        frame = frame.assign(**{name: pd.to_datetime(frame[name], utc=True)})
    return pa.Table.from_pandas(frame, preserve_index=False)
