"""An installation out of a backup."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from feature_repo.disk import full_disk_named
from feature_repo.file_lock import file_lock, try_lock
from feature_repo.refresh import TURN
from flows.backup_manifest import HOME, BackupManifest
from flows.errors import BackupError
from flows.lake_layout import sync
from flows.lake_writer import LOCK_FILE
from flows.model_store import model_store
from flows.mounted_home import LOCK_FILE as RESTORE_LOCK
from flows.mounted_home import PARTIAL, exchange, finish, half_restored, parts_of, time_in_name
from flows.training_turn import LOCK_FILE as TRAINING_LOCK
from infra.settings import Settings

_HELD_AT_WORK: Final = {
    LOCK_FILE: "an ingest or a compaction",
    "applier.lock": "a service",
    TURN: "a service, or a refresh of item features",
    "features.lock": "a run of the features",
    TRAINING_LOCK: "a training",
}
"""Locks of a home -> who holds them."""


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Args:
        aside: where the home of before is now; None: there was none.
        moved: the installation was somewhere else when it was backed up.
    """

    manifest: BackupManifest
    aside: Path | None
    moved: bool


def restore(backup: Path, settings: Settings, *, now: datetime, force: bool = False) -> Restored:
    """Make the home what it was when the backup was made.

    It appears whole, by one rename, or not at all. A mount point cannot be renamed: there the parts are renamed one by
    one, and who is killed between two of them leaves a home that is known as half restored. The next restore, of
    whatever backup, moves the other parts first.

    The backup is read and compared with its manifest first, and stays as it is.

    Args:
        now: UTC; in the name of what is moved aside.
        force: move a home that is not empty aside; it is never deleted.

    Raises:
        BackupError: it is no backup; the home is not empty, is being used, or has a mount point in it where it is one.
        DamagedBackupError: a file is damaged or missing; names it. Nothing was changed.
        DiskFullError: no room; nothing was changed.
        FeaturesBusyError: another restore is at work in the home, where that is a mount point.
    """
    home = settings.home.absolute()
    manifest = BackupManifest.of(backup)
    put = _put_inside if os.path.ismount(home) else _put_instead
    with _nobody_at_work(home):
        aside = put(backup, manifest, settings, now, force)
    return Restored(manifest, aside, moved=str(home) != manifest.home)


def _put_instead(backup: Path, manifest: BackupManifest, settings: Settings, now: datetime, force: bool) -> Path | None:
    """Build the home beside the one that is there and rename both; returns where that is now."""
    home = settings.home.absolute()
    has_content = home.is_dir() and any(home.iterdir())
    if has_content and not force:
        raise _not_empty(home)
    manifest.check(backup)
    home.parent.mkdir(parents=True, exist_ok=True)
    fresh = home.with_name(f"{home.name}.restoring")
    with _building(fresh):
        _bring(backup, fresh, manifest, settings)
    aside = None
    if has_content:
        aside = home.with_name(f"{home.name}.before-{time_in_name(now)}")
        home.rename(aside)
    fresh.rename(home)  # in the place of nothing or of an empty folder
    sync(home.parent)
    return aside


def _put_inside(backup: Path, manifest: BackupManifest, settings: Settings, now: datetime, force: bool) -> Path | None:
    """Build the home inside of the mount point and exchange the parts; returns where those of before are now."""
    home, pointer = settings.home.absolute(), settings.champion.name
    with file_lock(home / RESTORE_LOCK, f"the restore into {home}", wait_s=0):
        if begun := half_restored(home):
            is_the_same = BackupManifest.of(begun) == manifest
            aside = finish(home, begun, pointer, now)
            if is_the_same:
                return aside
        parts = parts_of(home)
        if parts and not force:
            raise _not_empty(home)
        _refuse_mounted(parts)
        manifest.check(backup)
        fresh = home / PARTIAL
        with _building(fresh):
            _bring(backup, fresh / HOME, manifest, settings)
            manifest.save(fresh)
            sync(fresh)
        return exchange(home, fresh, pointer, now)


def _not_empty(home: Path) -> BackupError:
    return BackupError(f"KAIROS_HOME={home} is not empty: name another home, or move what is there aside with --force")


def _refuse_mounted(parts: list[Path]) -> None:
    for part in parts:
        if os.path.ismount(part):
            raise BackupError(f"{part} is a mount point itself and cannot be moved aside: unmount it, then restore")


@contextmanager
def _nobody_at_work(home: Path) -> Iterator[None]:
    """Nobody begins in between, either; who waits for a lock that is moved aside takes the one that is there then."""
    is_home = home.is_dir() and any(home.iterdir())
    with ExitStack() as held:
        for name, who in _HELD_AT_WORK.items() if is_home else ():
            file = held.enter_context((home / name).open("a"))
            if not try_lock(file.fileno()):
                raise BackupError(f"{who} is at work in {home}: stop it first")
        yield


@contextmanager
def _building(folder: Path) -> Iterator[None]:
    """A new folder that a failure removes. What a kill leaves of it, the next restore removes."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with full_disk_named(folder, "nothing was changed"):
            yield
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _bring(backup: Path, fresh: Path, manifest: BackupManifest, settings: Settings) -> None:
    fresh.mkdir(parents=True)
    _copy(backup / HOME, fresh, manifest)
    _bring_models(fresh, settings)
    for folder, _, _ in os.walk(fresh):
        sync(Path(folder))


def _copy(source: Path, target: Path, manifest: BackupManifest) -> None:
    """Copies and no links: some of the files are written into, and the backup must stay what it is."""
    for name in manifest.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)
        sync(target / name)


def _bring_models(fresh: Path, settings: Settings) -> None:
    """Where `BENTOML_HOME` names a store outside of the home, the models go there; those that it has stay."""
    store = model_store(settings)
    brought = fresh / settings.bentoml_home.name / "models" / store.name
    if store.is_relative_to(settings.home) or not brought.is_dir():
        return
    for folder in sorted(path for path in brought.iterdir() if path.is_dir()):
        if not (store / folder.name).exists():
            partial = store / f"{folder.name}.partial"
            shutil.copytree(folder, partial, dirs_exist_ok=True)
            partial.rename(store / folder.name)
