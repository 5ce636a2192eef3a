"""What ten and forty times the events cost: ingest with its validation, features, and their checks.

python -m benchmarks.ops scale              the figure, an hour on two cores; 30 GB of disk
python -m benchmarks.ops.scale 0.3 1.5      other sizes, in millions of events, smallest first; only printed
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.ops.scale_shop import EVENTS_PER_ITEM, EVENTS_PER_USER, write_shop
from benchmarks.own_process import in_own_process

SIZES: Final = (1_500_000, 15_000_000, 60_000_000)
STAGES: Final = ("ingest", "features", "feature checks")
"""Those whose time grows with all events"""
NEXT: Final = "next batch"
GROWTH: Final = 1.5
"""Times the smallest size's time per event that a stage may take; and times the size before the largest's memory that
the stage may take which takes most: that is what a machine has to have."""


def measure(sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """The figure: the largest time per event of a stage, in times of the smallest size's.

    Args:
        sizes: numbers of events, ascending.
    """
    found = {size: _measured(size) for size in sizes}
    per_event, memory = _growth(found, "s_per_million_events", sizes[0]), _growth(found, "peak_mb", sizes[-2])
    before, peak = (max(found[size].get(stage, {}).get("peak_mb", 0) for stage in STAGES) for size in sizes[-2:])
    whole = all(found[size].keys() >= {*STAGES, NEXT} for size in sizes)
    largest = max(per_event.values(), default=None)
    return {
        "value": largest,
        "unit": f"times the time per event at {sizes[0] / 1e6:g} M events, at up to {sizes[-1] / 1e6:g} M",
        "target": f"<= {GROWTH}; peak memory from {sizes[-2] / 1e6:g} M to {sizes[-1] / 1e6:g} M, too",
        "met": whole and max(*per_event.values(), peak / before) <= GROWTH,
        "detail": {
            "time per event": per_event,
            "peak memory": memory,
            "events": {f"{size:,}": each for size, each in found.items()},
            "events_per_user": EVENTS_PER_USER,
            "events_per_item": EVENTS_PER_ITEM,
        },
    }


def _measured(events: int) -> dict[str, Any]:
    """Stage -> what it took; those after one that failed are missing."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        write_shop(Path(folder), events)
        for stage in (*STAGES, NEXT):
            took = in_own_process("benchmarks.ops.scale_stage", [stage, folder])
            if "seconds" not in took:
                print(f"  {events:,} events: {stage} failed, {took['detail']}", flush=True)
                break
            took["s_per_million_events"] = round(took["seconds"] / events * 1e6, 2)
            found[stage] = took
            print(f"  {events:,} events: {stage} {took['seconds']} s, {took['peak_mb']:,} MB", flush=True)
        found["lake_mb"] = round(sum(file.stat().st_size for file in Path(folder, "home/lake").rglob("*")) / 1e6)
        found["disk_free_gb"] = round(shutil.disk_usage(folder).free / 1e9)
    return found


def _growth(found: dict[int, dict[str, Any]], what: str, since: int) -> dict[str, float]:
    """Stage -> its largest figure at sizes above `since`, in times of the one there."""
    later = [each for size, each in found.items() if size > since]
    return {
        stage: round(max(each[stage][what] for each in later) / found[since][stage][what], 2)
        for stage in STAGES
        if stage in found[since] and all(stage in each for each in later)
    }


if __name__ == "__main__":
    print(json.dumps(measure([round(float(millions) * 1e6) for millions in sys.argv[1:]]), indent=2))
