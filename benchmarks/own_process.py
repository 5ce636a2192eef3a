"""A measurement in a process of its own: its memory is its own, and one that dies takes no other with it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def in_own_process(module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Any:
    """Run `python -m MODULE ARGUMENTS --measure FILE` and read the file.

    Returns:
        What it wrote; for one that failed, a figure that is not met and says how the process ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        command = [sys.executable, "-m", module, *arguments, "--measure", str(file)]
        status = subprocess.run(command, env=environment, check=False).returncode
        if status:
            return {"value": None, "unit": "", "target": None, "met": False, "detail": {"exit_status": status}}
        return json.loads(file.read_text())
