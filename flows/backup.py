"""A backup of the home: everything that could not be made anew, in one folder, as of one moment for each part of it.

Taken while everything runs. In this order, so that no part knows of what an earlier one lacks: the event log, then
the features, then the lake. What lies between is read from the log again, which is harmless.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from feature_repo.disk import full_disk_named
from feature_repo.file_lock import file_lock
from feature_repo.lake import EVENTS_LINK, GENERATIONS, Lake
from feature_repo.packed_files import PackedFiles
from feature_repo.snapshots import one_writer
from flows.backup_copy import Copier, files_of
from flows.backup_manifest import HOME, BackupManifest, Held, backups_in, digest
from flows.errors import BackupError
from flows.lake_layout import sync
from flows.lake_writer import lake_lock
from flows.model_store import bundle_folder, model_store
from flows.mounted_home import half_restored, parts_of
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings
from models.registry import MODEL_NAME, Champion, NoChampionError, champion

LOCK_WAIT_S: Final = TIME_LIMITS_S["backup"] / 2
"""How long a backup waits for who is writing snapshots or the lake; a run's own limit ends it."""
MADE_ANEW: Final = ("staging", "scratch", "spark", "runs", "bundles", "bentoml", "gx", "platform")
"""In the home, and not in a backup: scratch files, what training leaves, reports, what `kairos up` runs. Of BentoML's
store the champions are taken."""
_LAKE: Final = ("lake", "quarantine", "source_marks.json")
_PARTIAL: Final = ".partial"


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Args:
        removed: older ones that went.
    """

    folder: Path
    manifest: BackupManifest
    removed: tuple[Path, ...]


def back_up(settings: Settings, into: Path, *, keep: int, now: datetime, wait_s: float = LOCK_WAIT_S) -> Backup:
    """Write a backup to a new folder in `into`, and keep the newest `keep` there.

    It is written under another name and renamed at its end: what is named like a backup is whole. On the disk of the
    home, and beside earlier backups, files that are never written into are shared and not copied.

    Args:
        now: UTC; the backup's name.

    Raises:
        BackupError: there is nothing to back up, a restore was killed half-way, or a database cannot be read.
        LakeBusyError, FeaturesBusyError: somebody writes for longer than `wait_s`.
        DiskFullError: no room; earlier backups are as they were.
    """
    if not settings.home.is_dir():
        raise BackupError(f"there is nothing to back up: KAIROS_HOME={settings.home} does not exist")
    if half_restored(settings.home):
        raise BackupError(f"a restore into {settings.home} was killed half-way: run `kairos restore` again first")
    if into.resolve().is_relative_to(settings.home.resolve()):
        raise BackupError(f"{into} lies in the home {settings.home}, and would be lost with it: name another folder")
    into.mkdir(parents=True, exist_ok=True)
    with file_lock(into / "backup.lock", f"the folder of backups {into}", wait_s):
        for left in into.glob(f"*{_PARTIAL}"):  # of a killed backup
            shutil.rmtree(left)
        name = f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
        partial = into / f"{name}{_PARTIAL}"
        partial.mkdir(mode=0o700)  # it holds what people did
        try:
            with full_disk_named(partial, "the backups before it are whole"):
                manifest = _fill(_copier(partial), settings, now, wait_s)
        except Exception:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(into / name)
        sync(into)
        removed = tuple(backups_in(into)[:-keep])
        for old in removed:
            shutil.rmtree(old.rename(old.with_name(f"{old.name}{_PARTIAL}")))
    return Backup(into / name, manifest, removed)


def _copier(partial: Path) -> Copier:
    """Beside the newest backup, if that can be read."""
    for before in backups_in(partial.parent)[-1:]:
        with suppress(BackupError):
            return Copier(partial, before, BackupManifest.of(before).files)
    return Copier(partial)


def _fill(copier: Copier, settings: Settings, now: datetime, wait_s: float) -> BackupManifest:
    home, backup = settings.home, copier.into
    parts = [path for path in parts_of(home) if path.name not in MADE_ANEW]
    for path in parts:
        if path.suffix == ".db":
            copier.tree(path, path.name, written_once=False)
    with one_writer(settings.features, wait_s):
        copier.tree(settings.features, settings.features.name, written_once=True)
    with PackedFiles(settings.packed).writing(wait_s):
        copier.tree(settings.packed, settings.packed.name, written_once=False)
        copier.tree(settings.feast, settings.feast.name, written_once=False)
    with lake_lock(settings, wait_s):
        listed = _take_lake(copier, settings)
    for file, name in listed:
        copier.file(file, name, written_once=True)
    taken = {*_LAKE, settings.features.name, settings.packed.name, settings.feast.name}
    for path in parts:
        if path.suffix != ".db" and path.name not in taken:
            copier.tree(path, path.name, written_once=False)
    in_service = _champion(backup / HOME / settings.champion.name)
    missing = _take_models(copier, settings, in_service)
    files = {
        str(file.relative_to(backup / HOME)): Held(file.stat().st_size, digest(file))
        for file in sorted((backup / HOME).rglob("*"))
        if file.is_file()
    }
    tag = in_service.tag if in_service else None
    left_out = (*missing, *_elsewhere(settings))
    manifest = BackupManifest(now, version("kairos-recsys"), str(home), tag, left_out, files)
    manifest.save(backup)
    for folder, _, _ in os.walk(backup):
        sync(Path(folder))
    return manifest


def _take_lake(copier: Copier, settings: Settings) -> list[tuple[Path, str]]:
    """The lake's tables and what goes with them; returns the event files with their names in the backup, which stay for
    hours: they are many, and nobody needs to wait for them."""
    lake = settings.lake
    for path in sorted(lake.iterdir()) if lake.is_dir() else ():
        if path.name not in (EVENTS_LINK, GENERATIONS):
            copier.tree(path, f"{lake.name}/{path.name}", written_once=True)
    copier.tree(settings.quarantine, settings.quarantine.name, written_once=True)
    copier.tree(settings.source_marks, settings.source_marks.name, written_once=False)
    return [(file, f"{lake.name}/{EVENTS_LINK}/{file.name}") for file in files_of(Lake(lake).events_folder)]


def _champion(pointer: Path) -> Champion | None:
    try:
        return champion(pointer)
    except NoChampionError:
        return None


def _take_models(copier: Copier, settings: Settings, in_service: Champion | None) -> list[str]:
    """The champion and those that it can be rolled back to; returns what is missing, in sentences.

    Raises:
        BackupError: the champion itself is not in the store.
    """
    if in_service is None:
        return []
    missing = []
    store = f"{settings.bentoml_home.name}/models/{MODEL_NAME}"
    for tag in dict.fromkeys([in_service.tag, in_service.serves, *(reign.tag for reign in in_service.before)]):
        folder = bundle_folder(settings, tag)
        if folder.is_dir():
            copier.tree(folder, f"{store}/{folder.name}", written_once=True)
        elif tag == in_service.tag:
            raise BackupError(f"the champion {tag} is not in BentoML's store {model_store(settings)}: publish again")
        else:
            what = "the champion caught up" if tag == in_service.serves else "an earlier champion"
            missing.append(f"{tag}, {what}, is not in BentoML's store any more")
    latest = copier.into / HOME / store / "latest"
    latest.write_text(in_service.version)
    return missing


def _elsewhere(settings: Settings) -> list[str]:
    found = []
    if settings.event_stream == "redis":
        found.append("the event log is in Redis: keep its append-only file")
    if settings.online_store == "redis":
        found.append("the online rows are in Redis: `kairos features` makes them anew")
    if settings.registry_url:
        found.append("Feast's registry is in PostgreSQL: pg_dump it, or `kairos features` makes it anew")
    elif settings.registry and not Path(settings.registry).absolute().is_relative_to(settings.home.absolute()):
        found.append(f"Feast's registry is {settings.registry}: `kairos features` makes it anew")
    if not settings.spool.is_relative_to(settings.home.absolute()):
        found.append(f"events that wait for Redis are in {settings.spool} of each machine")
    return found
