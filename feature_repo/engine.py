"""The batch engine: computes every feature as of given moments on DuckDB and writes the snapshots that Feast reads.

One moment at a time, so memory does not grow with the number of moments, and a killed backfill goes on
where it stopped: a moment's file is there whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from feature_repo import inputs
from feature_repo import schema as s
from feature_repo.feature import MOMENT, Feature, Input
from feature_repo.lake import Lake

TABLES: tuple[Input, ...] = ("items", "users")
"""Inputs that carry their own time; their features have one file, not one per moment."""


def snapshot_name(moment: datetime) -> str:
    """File name of a moment's snapshot; sorts by time."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ") + ".parquet"


def compute(
    lake: Lake,
    features: Iterable[Feature],
    moments: Sequence[datetime],
    into: Path,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Write the snapshots of `features` at `moments` under `into/<feature>/`; skip those already there.

    Returns:
        Rows written per feature.

    Raises:
        EmptyLakeError: the lake holds no events.
    """
    lake.prepare()
    features = list(features)
    written = dict.fromkeys((feature.name for feature in features), 0)
    con = ibis.duckdb.connect()
    tables: dict[Input, Table] = {"items": con.read_parquet(lake.items), "users": con.read_parquet(lake.users)}
    for feature in features:
        if feature.reads in TABLES:
            path = into / feature.name / "all.parquet"
            written[feature.name] = _write(con, feature.expression(tables[feature.reads]), path)
    con.disconnect()
    for moment in moments:
        missing = [
            f for f in features if f.reads not in TABLES and not (into / f.name / snapshot_name(moment)).exists()
        ]
        if missing:
            con = ibis.duckdb.connect()
            at_moment = _inputs_at(con, lake, moment, {f.reads for f in missing})
            for feature in missing:
                path = into / feature.name / snapshot_name(moment)
                written[feature.name] += _write(con, feature.expression(at_moment[feature.reads]), path)
            con.disconnect()
        on_progress(f"features as of {moment:%Y-%m-%d %H:%M}")
    return written


def _inputs_at(con: Backend, lake: Lake, moment: datetime, needed: set[Input]) -> dict[Input, Table]:
    """The inputs cut to `moment`, stored in DuckDB because several features read each of them."""
    # 6: microseconds, as in the lake.
    at = ibis.literal(moment.astimezone(UTC)).cast("timestamp('UTC', 6)")
    events = con.read_parquet(lake.events).mutate(**{MOMENT: at})
    events = inputs.with_category(events, con.read_parquet(lake.items), at)
    cut: dict[Input, Table] = {}
    if "history" in needed:
        cut["history"] = con.create_table("history", inputs.history(events), temp=True)
    if "events" in needed:
        past = inputs.until_moment(events)
        past = past.mutate(**{s.DISCOUNT: past[s.CONTEXT].get(s.DISCOUNT, None).try_cast("float64")})
        cut["events"] = con.create_table("past", past.drop(s.CONTEXT, s.EVENT_ID), temp=True)
    return cut


def _write(con: Backend, rows: Table, path: Path) -> int:
    """Write to a neighbour and rename, so that a reader or a kill never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    rows = rows.mutate(**{MOMENT: rows[MOMENT].cast("timestamp('UTC', 6)")})
    con.to_parquet(rows, partial, compression="zstd")
    os.replace(partial, path)
    return int(con.read_parquet(path).count().execute())
