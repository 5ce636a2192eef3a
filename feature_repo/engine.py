"""The batch engine: computes every feature as of given moments on DuckDB and writes the snapshots that Feast reads.

One moment at a time, so memory does not grow with the number of moments, and a killed backfill goes on
where it stopped: a moment's file is there whole or not at all. Beside it stands a digest of what it was computed
from, so changed code or late events bring a new file, and nothing else does.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from feature_repo import inputs
from feature_repo.feature import MOMENT, Feature, Input
from feature_repo.lake import Lake

TABLES: tuple[Input, ...] = ("items", "users")
"""Inputs that carry their own time; their features have one file, not one per moment."""


def compute(
    lake: Lake,
    features: Iterable[Feature],
    moments: Sequence[datetime],
    into: Path,
) -> dict[str, int]:
    """Write the snapshots of `features` at `moments` under `into/<feature>/`; skip those that are up to date.

    Returns:
        Rows written per feature.

    Raises:
        EmptyLakeError: the lake holds no events.
    """
    lake.prepare()
    features = list(features)
    written = dict.fromkeys((feature.name for feature in features), 0)
    of_tables = [f for f in features if f.reads in TABLES]
    of_moments = [f for f in features if f.reads not in TABLES]
    tables = lake.fingerprint()
    missing = _missing(of_tables, None, tables, into)
    if missing:
        con = ibis.duckdb.connect()
        sources = {"items": con.read_parquet(lake.items), "users": con.read_parquet(lake.users)}
        for feature, digest in missing.items():
            path = snapshot(into, feature.name, None)
            written[feature.name] = _write(con, feature.expression(sources[feature.reads]), path, digest)
        con.disconnect()
    for moment, events in zip(moments, lake.events_until(moments), strict=True):
        wanted = [f for f in of_moments if f.trained_on or moment == max(moments)]
        missing = _missing(wanted, moment, f"{tables} {events}", into)
        if missing:
            con = ibis.duckdb.connect()
            at_moment = _inputs_at(con, lake, moment, {f.reads for f in missing})
            for feature, digest in missing.items():
                path = snapshot(into, feature.name, moment)
                written[feature.name] += _write(con, feature.expression(at_moment[feature.reads]), path, digest)
            con.disconnect()
    return written


def snapshot(into: Path, feature: str, moment: datetime | None) -> Path:
    """File of a feature's rows as of a moment; None: of a table that carries its own time."""
    name = f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}" if moment else "all"
    return into / feature / f"{name}.parquet"


def _missing(features: Iterable[Feature], moment: datetime | None, data: str, into: Path) -> dict[Feature, str]:
    """Which snapshots are not there as the code and the data now stand, and the digest that they get."""
    digests = {feature: _digest(feature, data) for feature in features}
    return {f: digest for f, digest in digests.items() if _digest_of(snapshot(into, f.name, moment)) != digest}


def _digest_of(path: Path) -> str | None:
    """What the snapshot was computed from; None if it is not there whole."""
    note = path.with_suffix(".digest")
    return note.read_text() if path.exists() and note.exists() else None


def _digest(feature: Feature, data: str) -> str:
    """Changes with the feature's file, with the making of its input, and with the data."""
    code = inspect.getsource(inspect.getmodule(feature.compute) or inputs) + inspect.getsource(inputs)
    return hashlib.sha256(f"{code}\n{data}".encode()).hexdigest()[:12]


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
        cut["events"] = con.create_table("past", inputs.past(events), temp=True)
    return cut


def _write(con: Backend, rows: Table, path: Path, digest: str) -> int:
    """Write to a neighbour and rename, so that a reader or a kill never meets half a file; the digest comes last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    rows = rows.mutate(**{MOMENT: rows[MOMENT].cast("timestamp('UTC', 6)")})
    con.to_parquet(rows, partial, compression="zstd")
    os.replace(partial, path)
    path.with_suffix(".digest").write_text(digest)
    return int(con.read_parquet(path).count().execute())
