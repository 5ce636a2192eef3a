"""The feature platform's figures, each in a process of its own; writes reports/features.json.

    make bench-features                     all of them; about half an hour on two cores, and 21 GB for one of Feast's
    python -m benchmarks.features parity stream

Reads the lake of the settings (`kairos ingest --connector complete-journey` fills it) and leaves it alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path
from typing import Final

from benchmarks.own_process import in_own_process
from benchmarks.report import line, write_report
from flows.quiet import quiet_exit
from infra.settings import settings

FIGURES: Final = {
    "pit_join": "benchmarks.point_in_time",
    "pit_join_large": "benchmarks.point_in_time",
    "pit_equal": "benchmarks.point_in_time",
    "parity": "benchmarks.parity",
    "spark_equal": "benchmarks.spark_equal",
    "pipeline": "benchmarks.pipeline",
    "stream": "benchmarks.stream",
    "packed_read": "benchmarks.packed",
}
"""Figure -> the module with a function of that name that measures it."""
LIBRARIES: Final = ("feast", "duckdb", "ibis-framework", "pyarrow", "pyspark", "redis", "great-expectations", "prefect")


def main() -> None:
    """Measure the figures asked for; a figure that fails is reported as not met, with its error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--measure", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    if given.measure:
        quiet_exit()
        [name] = given.figures
        measured = getattr(importlib.import_module(FIGURES[name]), name)()
        given.measure.write_text(json.dumps(measured))
        return
    for name in given.figures or FIGURES:
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        figure = in_own_process("benchmarks.features", [name])
        figure["detail"]["took_s"] = round(time.perf_counter() - started, 1)
        file = write_report(settings().reports / "features.json", {name: figure}, LIBRARIES)
        print(f"{line(name, figure)}, see {file}", flush=True)


if __name__ == "__main__":
    main()
