"""reports/*.json of the benchmarks: each figure with its own time, as they are measured one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows.json_file import write_json
from flows.measure import machine


def write_report(file: Path, figures: dict[str, Any], libraries: Sequence[str]) -> Path:
    """Put figures into the report, in the place of earlier ones of their names; the others stay.

    Args:
        libraries: those whose versions the figures depend on.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = json.loads(file.read_text())["figures"] if file.exists() else {}
    content = {
        "figures": {**before, **{name: {**figure, "when": now} for name, figure in figures.items()}},
        "machine": machine(),
        "versions": {library: version(library) for library in libraries},
        "seed": 7,
        "when": now,
    }
    write_json(file, content)
    return file


def line(name: str, figure: dict[str, Any]) -> str:
    """A figure as it is printed."""
    mark = "met" if figure["met"] else "NOT MET"
    return f"{name}: {figure['value']} {figure['unit']} (to reach: {figure['target']}) {mark}"
