"""Results as JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flows.lake_layout import sync


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all, whatever happens to the machine; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2))
    sync(partial)
    os.replace(partial, path)
