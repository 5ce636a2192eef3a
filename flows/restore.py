"""An installation out of a backup."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from feature_repo.disk import full_disk_named
from feature_repo.file_lock import try_lock
from flows.backup_manifest import HOME, BackupManifest
from flows.errors import BackupError
from flows.lake_layout import sync
from flows.lake_writer import LOCK_FILE
from flows.model_store import model_store
from flows.training_turn import LOCK_FILE as TRAINING_LOCK
from infra.settings import Settings

_HELD_AT_WORK: Final = {
    LOCK_FILE: "an ingest or a compaction",
    "applier.lock": "a service",
    "refresher.lock": "a service",
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
    """Make the home what it was when the backup was made. It appears whole, by one rename, or not at all.

    The backup is read and compared with its manifest first, and stays as it is.

    Args:
        now: UTC; in the name of the home that is moved aside.
        force: move a home that is not empty aside; it is never deleted.

    Raises:
        BackupError: it is no backup; the home is not empty, is a mount point, or is being used.
        DamagedBackupError: a file is damaged or missing; names it. Nothing was changed.
        DiskFullError: no room; nothing was changed.
    """
    home = settings.home.absolute()
    manifest = BackupManifest.of(backup)
    has_content = home.is_dir() and any(home.iterdir())
    if has_content and not force:
        raise BackupError(f"KAIROS_HOME={home} is not empty: name another home, or move it aside with --force")
    if os.path.ismount(home):
        raise BackupError(
            f"KAIROS_HOME={home} is a mount point: restore into a folder on it, KAIROS_HOME={home}/kairos"
        )
    _refuse_in_use(home)
    manifest.check(backup)
    fresh = home.with_name(f"{home.name}.restoring")
    shutil.rmtree(fresh, ignore_errors=True)  # of a killed restore
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        with full_disk_named(fresh, "nothing was changed"):
            _copy(backup / HOME, fresh, manifest)
            _bring_models(fresh, settings)
    except Exception:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    aside = None
    if has_content:
        aside = home.with_name(f"{home.name}.before-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        home.rename(aside)
    fresh.rename(home)  # in the place of nothing or of an empty folder
    sync(home.parent)
    return Restored(manifest, aside, moved=str(home) != manifest.home)


def _refuse_in_use(home: Path) -> None:
    for name, who in _HELD_AT_WORK.items():
        if (home / name).is_file():
            with (home / name).open("a") as file:
                if not try_lock(file.fileno()):
                    raise BackupError(f"{who} is at work in {home}: stop it first")


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
