"""Point-in-time joins: ours beside those of Feast's `duckdb` store, in time, memory and values.

    python -m benchmarks.features pit_join pit_join_large pit_equal

Every measurement is a process of its own, so its peak of memory is its own. Feast's store at 1.3 M rows takes minutes,
and more than 20 GB of memory and disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import point_in_time_run as run

SNAPSHOTS: Final = 900_000
ROWS: Final = 1_300_000
SMALL: Final = 100_000
TARGET_S, TARGET_GB, TARGET_RATIO = 3.0, 3.0, 50.0
LARGE_GB: Final = 24.0
LINEAR: Final = 1.5
"""Ten times the rows may take this much more than ten times the time."""


def measured(step: str, folder: Path, **how: int | str) -> dict[str, Any]:
    """Run one step in a process of its own; its last line of output is the result."""
    command = [sys.executable, "-m", "benchmarks.point_in_time_run", step, str(folder), json.dumps(how)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{step} {how} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))))


def in_folder(measure: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="point-in-time-") as folder:
        return measure(Path(folder))


def pit_join() -> dict[str, Any]:
    """Seconds of ours at 1.3 M rows, beside Feast's."""

    def measure(folder: Path) -> dict[str, Any]:
        run.write_data(folder, SMALL, SNAPSHOTS)
        run.write_data(folder, ROWS, SNAPSHOTS)
        ours, ours_small = (measured("join", folder, rows=rows, store=run.OURS) for rows in (ROWS, SMALL))
        feast_small = measured("join", folder, rows=SMALL, store=run.FEAST)
        detail: dict[str, Any] = {
            "peak_gb": ours["peak_gb"],
            "ours at 100,000": ours_small,
            "feast duckdb at 100,000": feast_small,
            "ratio at 100,000": round(feast_small["seconds"] / ours_small["seconds"], 1),
        }
        feast = measured("join", folder, rows=ROWS, store=run.FEAST)
        ratio = round(feast["seconds"] / ours["seconds"], 1)
        detail |= {"feast duckdb at 1,300,000": feast, "ratio at 1,300,000": ratio}
        least = min(ratio, detail["ratio at 100,000"])
        met = ours["seconds"] <= TARGET_S and ours["peak_gb"] <= TARGET_GB and least >= TARGET_RATIO
        return {
            "value": ours["seconds"],
            "unit": "s",
            "target": f"<= {TARGET_S} s, <= {TARGET_GB} GB, >= {TARGET_RATIO} times Feast's duckdb store",
            "met": met,
            "detail": detail,
        }

    return in_folder(measure)


def pit_join_large() -> dict[str, Any]:
    """Seconds of ours at 13 M rows, entity frame and result on disk; and how that grew from 1.3 M."""

    def measure(folder: Path) -> dict[str, Any]:
        run.write_data(folder, ROWS, SNAPSHOTS)
        run.write_data(folder, 10 * ROWS, 10 * SNAPSHOTS)
        small, large = (measured("to_parquet", folder, rows=rows, store=run.OURS) for rows in (ROWS, 10 * ROWS))
        batches = measured("batches", folder, rows=10 * ROWS, store=run.OURS)
        growth = round(large["seconds"] / small["seconds"], 2)
        return {
            "value": large["seconds"],
            "unit": "s",
            "target": f"<= {LARGE_GB} GB, <= {LINEAR} times linear",
            "met": large["rows"] == 10 * ROWS and large["peak_gb"] <= LARGE_GB and growth <= 10 * LINEAR,
            "detail": {
                "peak_gb": large["peak_gb"],
                "memory_limit": run.MEMORY_LIMIT,
                "time at 13 M / time at 1.3 M": growth,
                "at 1,300,000": small,
                "read as batches": batches,
            },
        }

    return in_folder(measure)


def pit_equal() -> dict[str, Any]:
    """Rows equal to those of Feast's `duckdb` store, of 100,000: ttl, created timestamps, nulls, unknown keys."""

    def measure(folder: Path) -> dict[str, Any]:
        run.write_random(folder, SMALL)
        found = measured("equal", folder, rows=SMALL)
        return {
            "value": found["equal"],
            "unit": "rows",
            "target": SMALL,
            "met": found["equal"] == SMALL,
            "detail": found,
        }

    return in_folder(measure)
