"""One stage of `benchmarks.ops.scale`, in a process of its own: its memory is its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.ops.scale_shop import EVENTS, ITEMS, NEXT, NOW, USERS
from feature_repo.store import Features
from flows.connectors.files import ParquetFiles
from flows.ingest import IngestReport, ingest
from flows.quality.check import check_features
from flows.quiet import quiet_exit, quiet_frameworks
from infra.settings import Settings


def _ingest(folder: Path, config: Settings) -> dict[str, Any]:
    tables = {"items": folder / ITEMS, "users": folder / USERS}
    return _told(ingest(ParquetFiles(folder / EVENTS, **tables), config, now=NOW, progress=False))


def _next(folder: Path, config: Settings) -> dict[str, Any]:
    """What the batch after that costs: its events are looked up among all that the lake has."""
    return _told(ingest(ParquetFiles(folder / NEXT), config, now=NOW, progress=False))


def _features(folder: Path, config: Settings) -> dict[str, Any]:
    features = Features.open(config)
    return {"rows": sum(features.compute([features.lake.newest_event()]).values())}


def _checks(folder: Path, config: Settings) -> dict[str, Any]:
    newest = Features.open(config).lake.newest_event()
    return {"expectations": sum(check_features(config, newest, "scale", now=NOW).checked.values())}


def _told(report: IngestReport) -> dict[str, Any]:
    return {"accepted": report.accepted, "rejected": report.rejected, "by_rule": report.by_rule}


STAGES: Final[Mapping[str, Callable[[Path, Settings], dict[str, Any]]]] = {
    "ingest": _ingest,
    "features": _features,
    "feature checks": _checks,
    "next batch": _next,
}
"""In this order -> what it does with the shop's folder and the home's settings; returns what it counted"""

if __name__ == "__main__":
    quiet_exit()
    quiet_frameworks()
    stage, folder, _, measured = sys.argv[1:]
    config = Settings(home=Path(folder) / "home", reports=Path(folder) / "reports")
    began = time.perf_counter()
    found = STAGES[stage](Path(folder), config)
    took = round(time.perf_counter() - began, 2)
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"seconds": took, "processor_s": round(used.ru_utime + used.ru_stime, 1), "peak_mb": used.ru_maxrss // 1024}
    Path(measured).write_text(json.dumps({**told, **found}))
