"""Files into a backup: the three ways in which a file that somebody may be writing is taken whole."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flows.backup_manifest import HOME, Held, digest
from flows.errors import BackupError
from flows.lake_layout import sync

_SQLITE: Final = b"SQLite format 3\0"
_LOCK_WITHIN_S: Final = 60.0
_PASSING: Final = (".lock", ".partial", ".new", "-wal", "-shm", "-journal")
"""Ends of names of files that are held or half written, or are part of a database that is taken as a whole."""


@dataclass(frozen=True)
class Copier:
    """Fills a backup's folder.

    Args:
        into: the backup.
        before: an earlier backup in the same place; None: there is none.
        held: what that one says of its files.
    """

    into: Path
    before: Path | None = None
    held: Mapping[str, Held] = field(default_factory=dict)

    def tree(self, source: Path, name: str, *, written_once: bool) -> None:
        """All files of a folder, or one file, under a name in the backup.

        Args:
            written_once: nobody writes into a file that is there, they are only replaced and removed: they may be
                shared by several names.
        """
        for file in files_of(source):
            with suppress(FileNotFoundError):  # gone since it was listed, as what is in passing goes
                self.file(file, str(Path(name, file.relative_to(source))), written_once=written_once)

    def file(self, file: Path, name: str, *, written_once: bool) -> None:
        """One file, as in `tree`."""
        target = self.into / HOME / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if written_once and self._shared(file, target):
            return
        if _is_sqlite(file):
            _copy_database(file, target)
        else:
            shutil.copy2(file, target)
        sync(target)

    def _shared(self, file: Path, target: Path) -> bool:
        """A second name for the file, or for the copy that the backup before has of it, if that is still whole."""
        if _linked(file, target):
            return True
        if self.before is None:
            return False
        name = str(target.relative_to(self.into / HOME))
        held = self.held.get(name)
        copy = self.before / HOME / name
        if held is None or not copy.is_file() or not _same(file, copy) or digest(copy) != held.digest:
            return False
        return _linked(copy, target)


def files_of(source: Path) -> Iterator[Path]:
    """A file itself, or what a folder holds, but for what is in passing."""
    # Not by a glob, which fails on a folder that goes meanwhile.
    walked = [Path(folder, name) for folder, _, names in os.walk(source) for name in names]
    for file in [source] if source.is_file() else sorted(walked):
        if not file.name.endswith(_PASSING) and ".partial" not in str(file.relative_to(source.parent)):
            yield file


def _same(file: Path, copy: Path) -> bool:
    one, other = file.stat(), copy.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _linked(file: Path, target: Path) -> bool:
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or a file system without links
        return False
    return True


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(len(_SQLITE)) == _SQLITE


def _copy_database(file: Path, target: Path) -> None:
    """As of one moment, whoever writes meanwhile."""
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    try:
        with (
            closing(sqlite3.connect(file, timeout=_LOCK_WITHIN_S)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be read whole: {error}; see what `sqlite3 {file} .dump` says") from error
    shutil.copystat(file, target)
