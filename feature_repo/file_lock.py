"""One process at a time, by a file: the lock goes with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from feature_repo.errors import FeaturesBusyError

WAIT_S = 60.0
"""How long one writer waits for another."""


@contextmanager
def file_lock(path: Path, what: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lock of `path`.

    Args:
        what: is written under the lock, for the error.

    Raises:
        FeaturesBusyError: another process holds it for longer than `wait_s`; names it and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with path.open("a+") as file:
        while not try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                file.seek(0)
                raise busy(what, file.read().strip() or "another process", wait_s)
            time.sleep(0.05)
        file.truncate(0)
        file.write(f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield


def busy(what: str, holder: str, waited_s: float) -> FeaturesBusyError:
    return FeaturesBusyError(
        f"{what} is held by {holder}, one writer at a time; waited {waited_s:g} s: run this again when it has ended, "
        f"or end it if it hangs"
    )


def try_lock(handle: int) -> bool:
    """Take the lock of an open file; False if another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
