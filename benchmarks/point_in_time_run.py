"""One step of `benchmarks.point_in_time`, in a process of its own; and the data that the steps read."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Float64

OURS: Final = "feature_repo.offline_store.AsOfOfflineStore"
FEAST: Final = "duckdb"
MEMORY_LIMIT: Final = "4GB"
DAYS: Final = 365
FEATURES: Final = [f"f{i}" for i in range(8)]
FEATURE_COLUMNS: Final = ", ".join(f"random() AS {name}" for name in FEATURES)
MOMENT: Final = "TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_microseconds((random() * {days} * 86400e6)::BIGINT)"
SEED: Final = "SELECT setseed(0.42)"


def write_data(folder: Path, rows: int, snapshots: int) -> None:
    """A year of daily snapshots of users, 8 features, and rows that ask for a user at any moment of it.

    Written by DuckDB, never held whole.
    """
    users = round(snapshots / DAYS)
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(folder / "spill")}) as con:
        con.execute(SEED)
        con.execute(
            f"COPY (SELECT 'user-' || u AS user_id, "
            f"TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_days(d::INTEGER) AS event_timestamp, {FEATURE_COLUMNS} "
            f"FROM range({DAYS}) days(d), range({users}) users(u)) TO '{folder}/snapshots-{rows}.parquet'"
        )
        con.execute(
            f"COPY (SELECT 'user-' || (random() * {users})::BIGINT AS user_id, {MOMENT.format(days=DAYS)} "
            f"AS event_timestamp, n FROM range({rows}) rows(n)) TO '{folder}/rows-{rows}.parquet'"
        )


def write_random(folder: Path, rows: int) -> None:
    """Few users, hours instead of moments: many rows meet the same row, the border of the ttl, a created timestamp."""
    hour = "TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_hours((random() * 2000)::INTEGER)"
    maybe = ", ".join(f"CASE WHEN random() > 0.1 THEN random() END AS {name}" for name in FEATURES)
    with duckdb.connect() as con:
        con.execute(SEED)
        con.execute(
            f"COPY (SELECT CASE WHEN random() > 0.01 THEN 'user-' || (random() * 500)::INTEGER END AS user_id, "
            f"{hour} AS event_timestamp, TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds(n) AS created, {maybe} "
            f"FROM range({rows // 2}) t(n)) TO '{folder}/snapshots-{rows}.parquet'"
        )
        con.execute(
            f"COPY (SELECT CASE WHEN random() > 0.01 THEN 'user-' || (random() * 600)::INTEGER END AS user_id, "
            f"{hour} AS event_timestamp, n FROM range({rows}) t(n)) TO '{folder}/rows-{rows}.parquet'"
        )


def open_store(
    folder: Path, store: str, rows: int, created: str = "", ttl: timedelta | None = None, **limits: str
) -> FeatureStore:
    """A Feast project with one view of the snapshots."""
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(folder / f"{store}.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": store, **limits},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    feast = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(
        name="snapshots",
        path=str(folder / f"snapshots-{rows}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column=created,
    )
    schema = [Field(name=name, dtype=Float64) for name in FEATURES]
    feast.apply([user, FeatureView(name="stats", entities=[user], schema=schema, source=source, ttl=ttl)])
    return feast


def asked(folder: Path, rows: int) -> Any:
    frame = pq.read_table(folder / f"rows-{rows}.parquet").to_pandas()
    frame["event_timestamp"] = frame["event_timestamp"].astype("datetime64[us, UTC]")
    return frame


NAMES: Final = [f"stats:{name}" for name in FEATURES]


def join(folder: Path, rows: int, store: str) -> dict[str, Any]:
    """From a pandas frame to Arrow, through Feast; ours best of three, after a small one."""
    feast, frame = open_store(folder, store, rows), asked(folder, rows)
    if store == OURS:
        feast.get_historical_features(frame.head(100), NAMES).to_arrow()
    taken = []
    for _ in range(3 if store == OURS else 1):
        start = time.perf_counter()
        got = feast.get_historical_features(frame, NAMES).to_arrow()
        taken.append(time.perf_counter() - start)
        count = got.num_rows
        del got
    return {"seconds": round(min(taken), 3), "rows": count}


def to_parquet(folder: Path, rows: int, store: str) -> dict[str, Any]:
    """From an entity frame on disk to a file on disk."""
    feast = open_store(folder, store, rows, memory_limit=MEMORY_LIMIT)
    target = folder / "result.parquet"
    start = time.perf_counter()
    feast.get_historical_features(_frame_on_disk(folder, rows), NAMES).to_parquet(target)
    return {"seconds": round(time.perf_counter() - start, 3), "rows": pq.read_metadata(target).num_rows}


def batches(folder: Path, rows: int, store: str) -> dict[str, Any]:
    """From an entity frame on disk to Arrow batches, none kept."""
    feast = open_store(folder, store, rows, memory_limit=MEMORY_LIMIT)
    start = time.perf_counter()
    reader = feast.get_historical_features(_frame_on_disk(folder, rows), NAMES).to_arrow_batches()
    count = sum(batch.num_rows for batch in reader)
    return {"seconds": round(time.perf_counter() - start, 3), "rows": count}


def _frame_on_disk(folder: Path, rows: int) -> str:
    return f"SELECT * FROM '{folder}/rows-{rows}.parquet'"


def equal(folder: Path, rows: int) -> dict[str, Any]:
    """How many rows are the same in both stores."""
    frame = asked(folder, rows)
    ours, feast = (
        open_store(folder, store, rows, created="created", ttl=timedelta(days=30))
        .get_historical_features(frame, NAMES)
        .to_arrow()
        .select([*frame.columns, *FEATURES])
        for store in (OURS, FEAST)
    )
    same = " AND ".join(f"o.{name} IS NOT DISTINCT FROM f.{name}" for name in [*frame.columns, *FEATURES])
    with duckdb.connect() as con:
        con.register("ours", ours)
        con.register("feast", feast)
        count = con.execute(f"SELECT count(*) FROM ours o JOIN feast f USING (n) WHERE {same}").fetchall()[0][0]
        found = con.execute("SELECT count(*) FROM ours WHERE f0 IS NOT NULL OR f1 IS NOT NULL").fetchall()[0][0]
    return {"equal": count, "rows": [ours.num_rows, feast.num_rows], "rows with features": found}


STEPS: Final = {"join": join, "to_parquet": to_parquet, "batches": batches, "equal": equal}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    result = STEPS[sys.argv[1]](Path(sys.argv[2]), **json.loads(sys.argv[3]))
    peak_gb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2)
    print(json.dumps({**result, "peak_gb": peak_gb}))
