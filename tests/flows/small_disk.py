"""A file system of its own for a test, really mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size: str, what: str) -> Iterator[Path]:
    """A new folder in memory, mounted while this is open; where nobody may mount, the test is skipped and says so.

    Args:
        size: as `mount` takes it, `20m`.
        what: it stands for, for the reason.
    """
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"{what} cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
