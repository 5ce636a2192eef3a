"""A folder of a computation's own, gone with it, or after it where that was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from feature_repo.file_lock import try_lock

_PREFIX: Final = "cut-"
_LOCK: Final = "lock"


@contextmanager
def scratch_folder(root: Path | None) -> Iterator[Path]:
    """A new folder under `root`, by default under the system's own for such things; removed at the end.

    What killed computations have left under `root` is removed first: their locks went with them.
    """
    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
        _remove_left(root)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root) as name, Path(name, _LOCK).open("w") as lock:
        try_lock(lock.fileno())
        yield Path(name)


def _remove_left(root: Path) -> None:
    for lock in root.glob(f"{_PREFIX}*/{_LOCK}"):
        with lock.open() as held:
            if try_lock(held.fileno()):
                shutil.rmtree(lock.parent, ignore_errors=True)
