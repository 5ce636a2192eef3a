"""DuckDB against Spark: every feature on all events of the lake, value by value.

    python -m benchmarks.spark_equal

Spark is the one of `KAIROS_SPARK_MASTER`; without `PYSPARK_SUBMIT_ARGS` its driver, which on this machine alone does
all the work, gets `DRIVER_MEMORY`.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.equal_tables import Comparison, compare
from feature_repo.engines.base import Engine
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.engines.spark import SparkEngine
from feature_repo.feature import MOMENT
from feature_repo.features import discover
from feature_repo.lake import Lake
from infra.settings import settings

DRIVER_MEMORY = "6g"


def spark_equal() -> dict[str, Any]:
    """Values that differ, of all features as of the newest event."""
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", f"--driver-memory {DRIVER_MEMORY} pyspark-shell")
    config = settings()
    lake = Lake(config.lake)
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        root = Path(folder)
        engines: list[Engine] = [DuckDBEngine(lake), SparkEngine(lake, config.spark_master, root / "spark")]
        seconds = {engine.name: computed(engine, lake, root / engine.name / "rows") for engine in engines}
        ours, theirs = (root / engine.name / "rows" for engine in engines)
        found = {
            name: compare(pq.read_table(ours / name), pq.read_table(theirs / name), [feature.entity.join_key, MOMENT])
            for name, feature in discover().items()
        }
    differences = sum(one.differences for one in found.values())
    return {
        "value": differences,
        "unit": "values",
        "target": 0,
        "met": differences == 0,
        "detail": {
            "events": lake.summary()["events"],
            "values compared": sum(one.values for one in found.values()),
            "largest relative difference of equal floats": max(one.largest_relative for one in found.values()),
            "spark master": config.spark_master,
            "seconds": {engine: round(sum(parts.values()), 1) for engine, parts in seconds.items()},
            "features": {name: detail(one, seconds, name) for name, one in found.items()},
        },
    }


def computed(engine: Engine, lake: Lake, into: Path) -> dict[str, float]:
    """Writes every feature as of the newest event; seconds per feature. What several features read is made with the
    first of them, and Spark's start counts as a part of its own."""
    into.mkdir(parents=True)
    features = discover().values()
    start = time.perf_counter()
    taken = {}
    with engine.cut(lake.newest_event(), [feature.reads for feature in features]) as cut:
        taken["start"] = time.perf_counter() - start
        for feature in features:
            start = time.perf_counter()
            cut.write(feature.expression(cut.tables[feature.reads]), into / feature.name)
            taken[feature.name] = time.perf_counter() - start
    return taken


def detail(found: Comparison, seconds: dict[str, dict[str, float]], name: str) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "values": found.values,
        "differences": found.differences,
        "largest relative difference": found.largest_relative,
        **{f"{engine} s": round(parts[name], 1) for engine, parts in seconds.items()},
        **({"examples": found.examples} if found.examples else {}),
    }


if __name__ == "__main__":
    print(json.dumps(spark_equal(), indent=2))
