"""What arrived since the last look and the stretches of the same length before it, counted in the same way.

Stretch 0 is what is looked at, whenever it happened; stretch 1 what happened in the time before it, 2 before that, and
so on. DuckDB counts; nothing but the counts comes into Python.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo import schema as s
from feature_repo.engines.scratch import scratch_folder
from feature_repo.lake import Lake
from flows.monitoring.distance import Counts
from infra.settings import Settings

NUMBERS: Final = (s.PRICE, s.QUANTITY, s.VALUE)
MAY_BE_NULL: Final = (s.SESSION_ID, s.QUANTITY, s.PRICE, s.VALUE, s.REQUEST_ID, s.POSITION, s.VARIANT)
_SAME: Final = (s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, "at_us", s.SESSION_ID, *NUMBERS, s.POSITION)
"""Two events that agree in all of these are one that was sent twice"""
_DAY_US: Final = 86_400_000_000
_MEMORY: Final = "2GB"


@dataclass(frozen=True)
class Bins:
    """How values are spread.

    Attributes:
        names: of the bins.
        counts: stretch -> [bins] events.
    """

    names: list[str]
    counts: Mapping[int, Counts]


@dataclass(frozen=True)
class Stretches:
    """What was counted.

    Attributes:
        start: time of the newest event that was known before; a stretch of the past begins so many lengths before it.
        length: of each stretch, a day at least.
        counts: stretch -> `events`, `users`, `late`, `copies`, `busiest_user`, `busiest_item`, `new_users`, `new_items`
            and `null:<column>` in events, `empty_days` as a share of the days; `aside` are events beside `events`.
        bins: of `hours`, the numbers' columns, `event_type` and, where there is a table of items, `category`.
    """

    start: datetime
    length: timedelta
    counts: Mapping[int, Mapping[str, float]]
    bins: Mapping[str, Bins]

    @property
    def days(self) -> float:
        return self.length / timedelta(days=1)


@contextmanager
def opened(config: Settings, new: Collection[str], aside: Collection[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake's events as the view `events` with `is_new` and `is_aside`; what does not fit into memory goes on disk.

    Args:
        new: ids of the batches that are looked at. What comes after them is not there: a batch that is taken in while
            one looks would be among what was before.
        aside: of those that nothing is compared with. What they brought has been seen, all the same: users, items, and
            rows that may come again.
    """
    with scratch_folder(config.scratch) as folder:
        con = duckdb.connect(str(folder / "work.duckdb"), config={"memory_limit": _MEMORY})
        try:
            con.execute("SET TimeZone = 'UTC'")
            con.register("new_batches", pa.table({s.BATCH_ID: pa.array(sorted(new), pa.string())}))
            con.register("aside", pa.table({s.BATCH_ID: pa.array(sorted(set(aside) - set(new)), pa.string())}))
            con.execute(
                f"CREATE VIEW events AS SELECT * EXCLUDE (context), epoch_us({s.TIMESTAMP}) AS at_us, "
                f"coalesce({s.BATCH_ID} IN (FROM new_batches), false) AS is_new, "
                f"coalesce({s.BATCH_ID} IN (FROM aside), false) AS is_aside FROM ({Lake(config.lake).events_sql}) "
                f"WHERE {s.BATCH_ID} IS NULL OR {s.BATCH_ID} <= "
                f"coalesce((SELECT max({s.BATCH_ID}) FROM new_batches), {s.BATCH_ID})"
            )
            yield con
        finally:
            con.close()


def count(con: duckdb.DuckDBPyConnection, lake: Lake, start: datetime, most: int) -> Stretches:
    """Count what is new and as many as `most` whole stretches before `start`."""
    start_us = _us(start)
    [(newest, first)] = con.sql(
        "SELECT max(at_us) FILTER (is_new), min(at_us) FILTER (NOT is_new) FROM events"
    ).fetchall()
    length = max(newest - start_us, _DAY_US)
    # One that begins before the first event would be called quiet.
    whole = min(most, (start_us - first) // length)
    con.execute(
        f"CREATE TABLE part AS SELECT * EXCLUDE (event_id, {s.TIMESTAMP}, {s.BATCH_ID}), "
        f"CASE WHEN is_new THEN 0 ELSE 1 + ({start_us} - at_us) // {length} END AS stretch, "
        f"hash({', '.join(_SAME)}) AS same "
        f"FROM events WHERE is_new OR (NOT is_aside AND at_us <= {start_us} AND at_us > {start_us - whole * length})"
    )
    con.execute(f"CREATE VIEW begun AS SELECT *, {start_us} - stretch * {length} AS begins_us FROM part")
    frame = _per_event(con).join(_copies(con)).join(_busiest(con)).join(_days(con, length // _DAY_US))
    frame = frame.join(_by_stretch(
        con, f"SELECT 1 + ({start_us} - at_us) // {length} AS stretch, count(*) AS aside FROM events "
        f"WHERE is_aside AND at_us <= {start_us} GROUP BY 1"
    ))  # fmt: skip
    for name, column in (("new_users", s.USER_ID), ("new_items", s.ITEM_ID)):
        frame[name] = _first_seen(con, column)
    bins = {"hours": _bins(con, "at_us // 3_600_000_000 % 24"), s.EVENT_TYPE: _bins(con, s.EVENT_TYPE)}
    bins |= {column: _bins(con, bin_) for column in NUMBERS if (bin_ := _tenths(con, column))}
    if lake.items.exists():
        con.execute(
            f"CREATE VIEW categories AS SELECT {s.ITEM_ID}, arg_max({s.CATEGORY}, {s.TIMESTAMP}) AS {s.CATEGORY} "
            f"FROM read_parquet('{str(lake.items).replace(chr(39), chr(39) * 2)}') GROUP BY 1"
        )
        bins[s.CATEGORY] = _bins(con, s.CATEGORY, f"LEFT JOIN categories USING ({s.ITEM_ID})")
    rows = frame.fillna(0.0).to_numpy(np.float64)
    counts = {
        int(stretch): dict(zip(map(str, frame.columns), map(float, row), strict=True))
        for stretch, row in zip(frame.index, rows, strict=True)
    }
    return Stretches(start, timedelta(microseconds=length), counts, bins)


def _per_event(con: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    nulls = [f'count(*) FILTER ({column} IS NULL) AS "null:{column}"' for column in MAY_BE_NULL]
    late = "count(*) FILTER (stretch = 0 AND at_us <= begins_us) AS late"
    return _by_stretch(
        con, f"SELECT stretch, count(*) AS events, count(DISTINCT {s.USER_ID}) AS users, {late}, {', '.join(nulls)} "
        "FROM begun GROUP BY 1"
    )  # fmt: skip


def _copies(con: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Events that are equal to an earlier one; what is new may also be a copy of what was there."""
    return _by_stretch(
        con,
        "SELECT stretch, count(*) - count(DISTINCT same) FILTER (NOT known) AS copies FROM ("
        "  SELECT stretch, same, stretch = 0 AND same IN ("
        f"    SELECT hash({', '.join(_SAME)}) FROM events WHERE NOT is_new AND at_us BETWEEN"
        "      (SELECT min(at_us) FROM part WHERE stretch = 0) AND (SELECT max(at_us) FROM part WHERE stretch = 0)"
        "  ) AS known FROM part) GROUP BY 1",
    )


def _busiest(con: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    frames = [
        _by_stretch(
            con, f"SELECT stretch, max(n) AS {name} FROM "
            f"(SELECT stretch, {column}, count(*) AS n FROM part GROUP BY ALL) GROUP BY 1"
        )
        for name, column in (("busiest_user", s.USER_ID), ("busiest_item", s.ITEM_ID))
    ]  # fmt: skip
    return frames[0].join(frames[1])


def _days(con: duckdb.DuckDBPyConnection, days: int) -> pd.DataFrame:
    """Days are counted from the stretch's beginning; a part of one at its end is left out."""
    found = con.sql(
        f"SELECT stretch, (at_us - begins_us - 1) // {_DAY_US} AS day, count(*) AS events FROM begun "
        f"WHERE at_us > begins_us AND (at_us - begins_us - 1) // {_DAY_US} < {days} GROUP BY 1, 2"
    ).df()
    table = found.pivot_table(index="stretch", columns="day", values="events").reindex(columns=range(days)).fillna(0.0)
    return (table == 0).mean(axis=1).to_frame("empty_days")


def _first_seen(con: duckdb.DuckDBPyConnection, column: str) -> pd.Series:
    """Events of users or items that were not seen before the stretch."""
    return _by_stretch(
        con,
        f"SELECT stretch, count(*) FILTER (first IS NULL OR (stretch > 0 AND first > begins_us)) AS n FROM begun "
        f"LEFT JOIN (SELECT {column}, min(at_us) AS first FROM events WHERE NOT is_new GROUP BY 1) USING ({column}) "
        "GROUP BY 1",
    )["n"]


def _tenths(con: duckdb.DuckDBPyConnection, column: str) -> str | None:
    """SQL of a number's bin: tenths of the values of before, and one for zero, where they pile up; None: no values."""
    tenths = [place / 10 for place in range(1, 10)]
    [(edges,)] = con.sql(
        f"SELECT quantile_cont({column}, {tenths}) FROM part WHERE stretch > 0 AND {column} <> 0"
    ).fetchall()
    if not edges:
        return None
    places = " + ".join(f"({column} > {edge!r})::INTEGER" for edge in sorted({0.0, *edges}))
    return f"CASE WHEN {column} IS NOT NULL THEN {places} END"


def _bins(con: duckdb.DuckDBPyConnection, bin_: str, join: str = "") -> Bins:
    """Where the bin is null, events are left out."""
    found = con.sql(f"SELECT stretch, {bin_} AS bin, count(*) AS n FROM part {join} GROUP BY 1, 2").df()
    stretches = sorted(found["stretch"].unique())
    table = found.dropna().pivot_table(index="stretch", columns="bin", values="n").reindex(stretches).fillna(0.0)
    rows = table.to_numpy(np.float64)
    return Bins([str(name) for name in table.columns], dict(zip(map(int, stretches), rows, strict=True)))


def _by_stretch(con: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    return con.sql(query).df().set_index("stretch").sort_index().astype(np.float64)


def _us(moment: datetime) -> int:
    return (moment.astimezone(UTC) - s.BEGINNING) // timedelta(microseconds=1)
