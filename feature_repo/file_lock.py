"""One process at a time, by a file: the lock goes with the process, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from feature_repo.errors import FeaturesBusyError

WAIT_S = 60.0
"""How long one writer waits for another."""
SAID_FROM_S = 10.0
"""Who may wait for longer says so."""

log = logging.getLogger("kairos.locks")


@contextmanager
def file_lock(path: Path, what: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lock of `path`.

    Args:
        what: is written under the lock, for the error.

    Raises:
        FeaturesBusyError: another process holds it for longer than `wait_s`; names it and since when.
    """

    def take(file: IO[str]) -> None:
        if not try_lock(file.fileno()):
            _wait(file, what, wait_s)

    with locked_file(path, take) as file:
        file.write(f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield


@contextmanager
def locked_file(path: Path, take: Callable[[IO[str]], None]) -> Iterator[IO[str]]:
    """A file that is locked, and empty for its holder's name; again where it was moved while it was waited for.

    Args:
        take: waits for the lock of the open file, or raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        take(file)
        if not _was_moved(file, path):
            file.truncate(0)
            yield file
            return
    with locked_file(path, take) as file:
        yield file


def _was_moved(file: IO[str], path: Path) -> bool:
    """Whether an open file is no longer the one of its name: a restore may have moved it aside with its home."""
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return True


def _wait(file: IO[str], what: str, wait_s: float) -> None:
    if wait_s >= SAID_FROM_S:
        log.warning("%s is held by %s: this one waits for up to %.0f minutes", what, _holder(file), wait_s / 60)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if try_lock(file.fileno()):
            return
    raise busy(what, _holder(file), wait_s)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "another process"


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
