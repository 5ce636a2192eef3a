"""A home that is a mount point, as in containers: it cannot be renamed, so a restore exchanges what is in it.

    .restoring.partial/     the home of the backup while it is copied; all else is as it was
    .restoring-TIME/        that home is whole; what was there is moved aside, then its parts are moved into place
    .before-TIME/           what was there

A restore that was killed is known by the second folder, and what is still in there tells how far it came. The
champion's pointer goes first and comes last: no model is in service while the home is neither the old nor the new one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flows.backup_manifest import HOME, BackupManifest
from flows.lake_layout import sync

PARTIAL: Final = ".restoring.partial"
LOCK_FILE: Final = ".restoring.lock"
_BEGUN: Final = ".restoring-"
_BEFORE: Final = ".before-"
_NO_PARTS: Final = (PARTIAL, "lost+found")
"""What a restore keeps for itself, and what ext4 makes in a new volume."""
_LOCK: Final = ".lock"
"""Locks stay where they are: the restore holds them, so that nobody begins meanwhile."""


def parts_of(home: Path) -> list[Path]:
    """What an installation consists of: not what restores left in the home, nor what is the file system's own."""
    entries = sorted(home.iterdir())
    return [
        path
        for path in entries
        if path.name not in _NO_PARTS and path.suffix != _LOCK and not path.name.startswith((_BEGUN, _BEFORE))
    ]


def half_restored(home: Path) -> Path | None:
    """What a restore that was killed left to be moved into place; None: nothing."""
    return next(home.glob(f"{_BEGUN}*"), None)


def time_in_name(now: datetime) -> str:
    """As in the names of what is moved aside."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def exchange(home: Path, built: Path, pointer: str, now: datetime) -> Path | None:
    """Put a whole home, with its manifest, in the place of what is there.

    Args:
        built: `home / PARTIAL`, on the disk.
        pointer: name of the champion's pointer.
        now: UTC; in the name of the folder that what is there is moved to.

    Returns:
        That folder; None: nothing was there.
    """
    begun = built.rename(home / f"{_BEGUN}{time_in_name(now)}")
    sync(home)
    return finish(home, begun, pointer, now)


def finish(home: Path, begun: Path, pointer: str, now: datetime) -> Path | None:
    """Bring an exchange to its end, however far it came.

    Args:
        begun: what `half_restored` gave.
        pointer: as in `exchange`.
        now: UTC; in the names of what came into the home since the restore was killed.

    Returns:
        As `exchange`.
    """
    aside = home / f"{_BEFORE}{begun.name.removeprefix(_BEGUN)}"
    for part in sorted(_of_others(home, begun), key=lambda path: (path.name != pointer, path.name)):
        _move_aside(part, aside, now)
    for part in sorted((begun / HOME).iterdir(), key=lambda path: (path.name == pointer, path.name)):
        part.rename(home / part.name)
    sync(home)
    shutil.rmtree(begun.rename(home / PARTIAL))  # a kill leaves what the next restore removes
    return aside if aside.is_dir() else None


def _of_others(home: Path, begun: Path) -> Iterator[Path]:
    """What is not from the backup. A part of the backup that does not wait any more is in its place."""
    waiting = {path.name for path in (begun / HOME).iterdir()}
    placed = {Path(name).parts[0] for name in BackupManifest.of(begun).files} - waiting
    beside = tuple(f"{name}-" for name in placed)  # what SQLite keeps beside a database that was opened since
    for part in parts_of(home):
        if part.name not in placed and not part.name.startswith(beside):
            yield part


def _move_aside(part: Path, aside: Path, now: datetime) -> None:
    aside.mkdir(mode=0o700, exist_ok=True)  # it holds what people did
    is_taken = os.path.lexists(aside / part.name)  # by what was there before somebody made it anew
    part.rename(aside / (f"{part.name}.{time_in_name(now)}" if is_taken else part.name))
    sync(aside)
