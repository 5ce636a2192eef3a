"""The service under load; writes reports/serving.json.

    make bench-serving                                    all figures, about an hour on a quiet machine
    python -m benchmarks.serving recommend_p50 throughput
    python -m benchmarks.serving --quick                  a short run of everything: to see that it works

Measures a copy of the installation in KAIROS_HOME, which `make demo` fills, over a Redis of its own. Figures that one
run gives together are measured together.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.own_process import in_own_process
from benchmarks.report import line, write_report
from benchmarks.serving.plan import FULL, QUICK, Plan
from flows.quiet import quiet_exit, quiet_frameworks
from infra.settings import settings

FIGURES: Final = {
    "recommend_p50": "latency",
    "recommend_p99": "latency",
    "throughput": "throughput",
    "million_items": "million_items",
    "reaction_p99": "reaction",
    "hot_swap": "hot_swap",
    "events_rate": "events_rate",
    "worker_kill": "worker_kill",
    "redis_kill": "redis_kill",
    "soak": "soak",
    "fuzz": "fuzz",
}
"""Figure -> the module of this package that measures it, in this order: what fills the event log comes late."""
LIBRARIES: Final = ("bentoml", "feast", "redis", "torch", "onnxruntime", "numpy", "uvicorn", "locust", "schemathesis")
REPORT: Final = "serving.json"


def main() -> None:
    """Measure the figures asked for; one whose process fails is reported as not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures mean nothing")
    parser.add_argument("--measure", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    if given.measure:
        _measure(given.figures[0], QUICK if given.quick else FULL, given.measure)
        return
    quiet_frameworks()
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    wanted = given.figures or list(FIGURES)
    _all(wanted, ["--quick"] if given.quick else [])


def _measure(name: str, plan: Plan, file: Path) -> None:
    quiet_exit()
    module = importlib.import_module(f"benchmarks.serving.{FIGURES[name]}")
    file.write_text(json.dumps(module.measure(plan)))


def _all(wanted: list[str], options: list[str]) -> None:
    from benchmarks.serving.bed import bed  # Feast takes seconds, and the processes of the load import this file too

    file = settings().reports / REPORT
    with bed(settings()) as (_, environment):
        # The figures before these, which the soak takes its rate from.
        environment["KAIROS_REPORTS"] = str(settings().reports)
        for names in _by_module(wanted).values():
            print(f"{', '.join(names)} ...", flush=True)
            started = time.perf_counter()
            measured = in_own_process("benchmarks.serving", [names[0], *options], environment)
            for name in names:
                figure = measured if "detail" in measured else measured[name]  # its process failed, or all is well
                figure["detail"] |= {"took_s": round(time.perf_counter() - started, 1), "quick": bool(options)}
                write_report(file, {name: figure}, LIBRARIES)
                print(f"{line(name, figure)}, see {file}", flush=True)


def _by_module(wanted: list[str]) -> dict[str, list[str]]:
    modules: dict[str, list[str]] = {}
    for name in FIGURES:
        if name in wanted:
            modules.setdefault(FIGURES[name], []).append(name)
    return modules


if __name__ == "__main__":
    main()
