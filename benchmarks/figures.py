"""The command line of a family of benchmarks: each figure in a process of its own, all in one report."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.own_process import in_own_process
from benchmarks.report import line, write_report
from flows.quiet import quiet_exit, quiet_frameworks
from infra.settings import settings


def measure_figures(about: str, module: str, figures: Mapping[str, str], report: str, libraries: Sequence[str]) -> None:
    """Measure the figures that the command line names, or all; one whose process fails is reported as not met.

    Args:
        about: the help's text.
        module: what `python -m` runs to come here.
        figures: name -> `module:function` that measures it.
        report: name of the file under the reports.
        libraries: those whose versions the figures depend on.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(figures))
    parser.add_argument("--measure", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.figures) - set(figures)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(figures)}")
    if given.measure:
        # As for the command line, before Prefect is imported: its server may take more than 20 s to start.
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
        quiet_exit()
        quiet_frameworks()
        [name] = given.figures
        file, _, function = figures[name].partition(":")
        given.measure.write_text(json.dumps(getattr(importlib.import_module(file), function)()))
        return
    for name in given.figures or figures:
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        figure = in_own_process(module, [name])
        figure["detail"]["took_s"] = round(time.perf_counter() - started, 1)
        file_written = write_report(settings().reports / report, {name: figure}, libraries)
        print(f"{line(name, figure)}, see {file_written}", flush=True)
