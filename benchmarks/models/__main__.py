"""What the models reach on public sets, each in a process of its own; writes reports/models.json.

    make bench-models                            all of them, hours on two cores
    python -m benchmarks.models beauty gowalla   some of them; `kairos benchmark NAME` is one

The sets are read from the folder that KAIROS_DATASETS names; docs/benchmarks.md says where to get them.
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
from flows.quiet import quiet_frameworks
from infra.settings import settings

FIGURES: Final = {
    "beauty": "benchmarks.models.beauty",
    "ml1m": "benchmarks.models.movielens",
    "gowalla": "benchmarks.models.gowalla",
    "retailrocket": "benchmarks.models.retailrocket",
    "frappe": "benchmarks.models.frappe",
    "cold": "benchmarks.models.cold",
    "topk_speed": "benchmarks.models.top_k",
    "train_speed": "benchmarks.models.train_speed",
    "rerank": "benchmarks.models.reranking",
}
"""Figure -> the module that measures it"""
LIBRARIES: Final = ("torch", "lightning", "implicit", "lightgbm", "scikit-learn", "pyversity", "numpy", "scipy")


def main(names: list[str] | None = None) -> None:
    """Measure the figures asked for; one whose process fails is reported as not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--measure", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(names)
    unknown = set(given.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    if given.measure:
        quiet_frameworks()
        [name] = given.figures
        given.measure.write_text(json.dumps(importlib.import_module(FIGURES[name]).measure()))
        return
    for name in given.figures or FIGURES:
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        figure = in_own_process("benchmarks.models", [name])
        figure["detail"]["took_s"] = round(time.perf_counter() - started, 1)
        file = write_report(settings().reports / "models.json", {name: figure}, LIBRARIES)
        print(f"{line(name, figure)}, see {file}", flush=True)


if __name__ == "__main__":
    main()
