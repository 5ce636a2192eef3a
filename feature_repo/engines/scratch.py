"""A folder of a computation's own, gone with it, or after it where that was killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from feature_repo.file_lock import try_lock

_PREFIX: Final = "cut-"
_LOCK: Final = "lock"
_ROOTS_LOCK: Final = ".lock"


@contextmanager
def scratch_folder(root: Path | None) -> Iterator[Path]:
    """A new folder under `root`, by default under the system's own for such things; removed at the end.

    What killed computations have left under `root` is removed first: their locks went with them.
    """
    with ExitStack() as opened:
        with ExitStack() as alone:
            if root is not None:
                root.mkdir(parents=True, exist_ok=True)
                alone.enter_context(_alone(root))
                _remove_left(root)
            name = opened.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root))
            lock = opened.enter_context(Path(name, _LOCK).open("w"))
            try_lock(lock.fileno())
        yield Path(name)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """A folder whose lock is made and not yet taken looks like one that was left: nobody cleans while one is made."""
    with (root / _ROOTS_LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_left(root: Path) -> None:
    for lock in root.glob(f"{_PREFIX}*/{_LOCK}"):
        # Its owner may end, and take it away, just now.
        with suppress(FileNotFoundError), lock.open("r+") as held:  # NFS locks no file that is read alone
            if try_lock(held.fileno()):
                shutil.rmtree(lock.parent, ignore_errors=True)
