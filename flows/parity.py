"""Parity as a report: what was compared, how much, and the first differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from feature_repo.parity.report import ParityReport
from flows.json_file import write_json
from flows.measure import machine
from infra.settings import Settings

LIBRARIES = ("feast", "duckdb", "ibis-framework", "pyarrow")


def per_view(report: ParityReport) -> list[dict[str, str]]:
    """A row per view: values compared, and those that differ."""

    def total(values: Mapping[str, int]) -> Counter[str]:
        views: Counter[str] = Counter()
        for column, count in values.items():
            views[column.partition(":")[0]] += count
        return views

    differing = total(report.differing)
    return [
        {"view": view, "values": f"{values:,}", "different": f"{differing[view]:,}"}
        for view, values in sorted(total(report.values).items())
    ]


def parity_figure(report: ParityReport) -> dict[str, Any]:
    """The report's figure `parity`: how many values differ, and how many there were."""
    return {
        "value": report.differences,
        "unit": "values",
        "target": 0,
        "met": report.differences == 0 and report.rows > 0,
        "detail": {
            "events": report.events,
            "rows": report.rows,
            "values": report.values.total(),
            "values_per_feature": dict(sorted(report.values.items())),
            "differing_per_feature": dict(sorted(report.differing.items())),
            "left_out": dict(report.left_out),
            "first_differences": [
                asdict(difference) | {"moment": str(difference.moment)} for difference in report.first
            ],
            "seconds": {step: round(seconds, 2) for step, seconds in report.seconds.items()},
        },
    }


def write_parity(report: ParityReport, config: Settings) -> Path:
    """Write `reports/parity.json`; returns its path."""
    path = config.reports / "parity.json"
    content = {
        "figures": {"parity": parity_figure(report)},
        "machine": machine(),
        "versions": {library: version(library) for library in LIBRARIES},
        "seed": config.seed,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(path, content)
    return path
