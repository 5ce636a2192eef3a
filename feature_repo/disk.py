"""A full disk, told as what it is."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_repo.errors import DiskFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SAYS_FULL = ("No space left on device", "File too large", "Disk quota exceeded", "database or disk is full")
"""DuckDB, Spark and SQLite say it in their own errors."""


@contextmanager
def full_disk_named(path: Path, stays: str) -> Iterator[None]:
    """Turns whatever a full disk raises into one error that names the file.

    Args:
        path: what is being written.
        stays: what is there all the same, for the error.

    Raises:
        DiskFullError: there is no room for it.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in _FULL and not any(says in str(error) for says in _SAYS_FULL):
            raise
        free_mb = shutil.disk_usage(path.parent).free / 1e6
        raise DiskFullError(
            f"no room to write {path}: {free_mb:,.1f} MB are free on its disk; {stays}. Make room there, or move "
            f"KAIROS_HOME to a larger disk, and run this again"
        ) from error
