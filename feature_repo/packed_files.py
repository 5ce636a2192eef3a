"""The packed item table on disk: a folder per version, and a pointer to the one that counts.

Whoever writes item features online holds the lock of `writing` and leaves a version that equals what is online. A
version is written beside its place and renamed, then the pointer is replaced: a reader meets whole versions only. It
reads a version into memory, rather than mapping it: the files of an old version can go at any time, on a network file
system too, where a mapped file that is removed by another machine ends the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from feature_repo.disk import full_disk_named
from feature_repo.errors import DamagedTableError
from feature_repo.file_lock import file_lock
from feature_repo.packed import PackedItems, PackedView
from feature_repo.packed_strings import read_strings, write_strings

FORMAT: Final = 2
KEPT: Final = 3
"""Versions: one written a minute ago may be being read still."""
ARRAYS: Final = ("numbers", "codes", "moments")
_MANIFEST, _IDS = "manifest.json", "ids.jsonl"


class PackedFiles:
    """The versions under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pointer = folder / "current"
        self._strings: dict[str, tuple[str | None, ...]] = {}
        """Digest -> content of the files of strings that were read last. Most versions have those of the one before."""

    @property
    def current(self) -> str | None:
        """Name of the version that counts; None: there is none yet, or its values are being replaced."""
        try:
            return self._pointer.read_text() or None
        except FileNotFoundError:
            return None

    def load(self, version: str) -> PackedItems:
        """Read a version into memory. Strings that the version loaded before had as well are the same objects.

        Raises:
            DamagedTableError: a file is missing, cut short or not what was written.
        """
        folder = self._folder / version
        try:
            manifest = json.loads((folder / _MANIFEST).read_text())
            if manifest["format"] != FORMAT:
                raise DamagedTableError(f"{folder}: format {manifest['format']!r}, this code reads {FORMAT}")
            for name, digest in manifest["files"].items():
                if _digest(folder / name) != digest:
                    raise DamagedTableError(f"{folder / name}: not what was written")
            views = tuple(_view(fields) for fields in manifest["views"])
            names = [_IDS, *(_values_file(column) for column in range(sum(len(view.texts) for view in views)))]
            digests = [manifest["files"][name] for name in names]
            self._strings = {
                digest: self._strings.get(digest) or read_strings(folder / name)
                for name, digest in zip(names, digests, strict=True)
            }
            ids, *values = (self._strings[digest] for digest in digests)
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DamagedTableError(f"{folder}: {type(error).__name__}: {error}") from error
        return PackedItems(
            moment=datetime.fromisoformat(manifest["moment"]),
            views=views,
            ids=cast("tuple[str, ...]", ids),
            values=tuple(values),
            **arrays,
        )

    def newest(self) -> PackedItems | None:
        """The version that counts; None if there is none that can be read."""
        version = self.current
        if version is None:
            return None
        try:
            return self.load(version)
        except DamagedTableError:
            return None

    def publish(self, items: PackedItems) -> str:
        """Write a version and point to it; returns its name, which is its moment and its content's digest.

        Raises:
            DiskFullError: there is no room; the version before goes on.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / "new"
        shutil.rmtree(new, ignore_errors=True)  # of a killed writer
        new.mkdir()
        with full_disk_named(new, "the packed item table before it goes on"):
            version = f"{items.moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{_write(items, new)}"
            shutil.rmtree(self._folder / version, ignore_errors=True)
            new.rename(self._folder / version)
            self._point_to(version)
        self._prune(version)
        return version

    def forget(self) -> None:
        """No version counts: what is online is about to be replaced. Readers go on with what they have."""
        self._pointer.unlink(missing_ok=True)

    @contextmanager
    def writing(self, wait_s: float) -> Iterator[None]:
        """Nobody else writes item features online.

        Raises:
            FeaturesBusyError: somebody does, for longer than `wait_s`.
        """
        with file_lock(self._folder.with_name(f"{self._folder.name}.lock"), "the packed item table", wait_s):
            yield

    def _point_to(self, version: str) -> None:
        beside = self._pointer.with_suffix(".new")
        beside.write_text(version)
        os.replace(beside, self._pointer)

    def _prune(self, version: str) -> None:
        others = [path for path in self._folder.iterdir() if path.is_dir() and path.name != version]
        for old in sorted(others, key=lambda path: path.stat().st_mtime)[: -(KEPT - 1)]:
            shutil.rmtree(old)


def _write(items: PackedItems, folder: Path) -> str:
    """Returns the digest of all files."""
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(items, name), allow_pickle=False)
    write_strings(folder / _IDS, items.ids)
    for column, values in enumerate(items.values):
        write_strings(folder / _values_file(column), values)
    files = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    manifest = {
        "format": FORMAT,
        "moment": items.moment.isoformat(),
        "views": [asdict(view) for view in items.views],
        "files": files,
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest))
    return hashlib.blake2b(json.dumps(manifest).encode(), digest_size=6).hexdigest()


def _values_file(column: int) -> str:
    return f"values-{column}.jsonl"


def _view(fields: dict[str, Any]) -> PackedView:
    return PackedView(**fields | {name: tuple(fields[name]) for name in ("numbers", "texts")})


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()
