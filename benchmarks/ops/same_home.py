"""Whether two homes came to the same data, however: every event of the lake once, every value of every snapshot."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow.parquet as pq

from benchmarks.equal_tables import compare
from feature_repo import schema as s
from feature_repo.feature import MOMENT
from feature_repo.features import discover
from feature_repo.lake import Lake
from infra.settings import Settings


def differences(ours: Settings, theirs: Settings) -> list[str]:
    """What of the second home is not as in the first, in sentences."""
    wanted, found = _lake(ours), _lake(theirs)
    said = [f"{what} is {found[what]}, not {value}" for what, value in wanted.items() if found[what] != value]
    return said + _features(ours, theirs)


def _lake(config: Settings) -> dict[str, Any]:
    """Rows and checksums, of all that events hold but their batch, which has another id each time."""
    lake = Lake(config.lake)
    summary = lake.summary()
    [(rows, ids, checksum)] = duckdb.sql(
        f"SELECT count(*), count(DISTINCT {s.EVENT_ID}), sum(hash(e)::HUGEINT) "
        f"FROM (SELECT * EXCLUDE ({s.BATCH_ID}) FROM ({lake.events_sql})) e"
    ).fetchall()
    return {
        **{name: str(value) for name, value in summary.items()},
        "event rows": rows,
        "event ids": ids,
        "events' checksum": checksum,
        "items' checksum": lake.fingerprints(lake.items, [None]),
        "users' checksum": lake.fingerprints(lake.users, [None]),
    }


def _features(ours: Settings, theirs: Settings) -> list[str]:
    """Values, not bytes: DuckDB's threads write rows in any order and add up in any order."""
    names, others = (
        {str(file.relative_to(config.features)) for file in config.features.rglob("*.parquet")}
        for config in (ours, theirs)
    )
    said = [f"snapshot {name} is in one home alone" for name in sorted(names ^ others)]
    for feature in discover().values():
        for name in sorted(names & others):
            if not name.startswith(f"{feature.name}/"):
                continue
            tables = [pq.read_table(config.features / name) for config in (ours, theirs)]
            unequal = compare(*tables, [feature.entity.join_key, MOMENT])
            if unequal.differences:
                said.append(f"{name}: {unequal.differences} values differ, {unequal.examples}")
    return said
