"""reports/features.json: each figure with its own time, as they are measured one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from flows.json_file import write_json
from flows.measure import machine

LIBRARIES: Final = ("feast", "duckdb", "ibis-framework", "pyarrow", "pyspark", "redis", "great-expectations", "prefect")


def write_report(file: Path, figures: dict[str, Any]) -> Path:
    """Put figures into the report, in the place of earlier ones of their names; the others stay."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = json.loads(file.read_text())["figures"] if file.exists() else {}
    content = {
        "figures": {**before, **{name: {**figure, "when": now} for name, figure in figures.items()}},
        "machine": machine(),
        "versions": {library: version(library) for library in LIBRARIES},
        "seed": 7,
        "when": now,
    }
    write_json(file, content)
    return file
