"""What piles up and can go: rejected rows, what trainings leave, models that nothing leads to any more.

Events are not among it. Features of a moment are computed from all events before it, and are known to be up to date by
how many there are; the ids of events are what an ingest knows a repetition by.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bentoml import bentos
from bentoml import models as store
from bentoml.exceptions import NotFound

from feature_repo.request_log import RequestLog
from flows.bentos import our_bentos
from flows.lake_writer import lake_lock
from flows.quarantine import list_batches, quarantine_file
from infra.settings import Settings
from models.registry import MODEL_NAME, TEACHER, NoChampionError, champion


@dataclass(frozen=True)
class Pruned:
    """How many went of each."""

    quarantined_batches: int = 0
    validations: int = 0
    """Files: results of Great Expectations and their pages"""
    runs: int = 0
    bundles: int = 0
    models: int = 0
    bentos: int = 0


def prune(settings: Settings, *, keep_days: float, now: datetime, wait_s: float = 0.0) -> Pruned:
    """Remove what is older than `keep_days`, but for what something may still ask for: the newest trained bundle, the
    one that the champion's next lesson begins with, the champions that the pointer remembers, the models of logged
    answers, and the Bentos with one of these.

    Args:
        now: UTC.
        wait_s: how long to wait for a writer of the lake, who may be filing rejected rows.

    Raises:
        LakeBusyError: another process writes the lake.
    """
    before = now - timedelta(days=keep_days)
    with lake_lock(settings, wait_s):
        batches = _drop_batches(settings.quarantine, before)
    validations = _drop_validations(settings.gx, before)
    runs = _drop_folders(_dated(settings.runs), before)
    teacher = _teacher(settings)
    bundles = _drop_folders([each for each in _dated(settings.bundles)[:-1] if each[1].name != teacher], before)
    bundles += _drop_folders(_half_written(settings.bundles), before)
    kept = _asked_for(settings)
    models, bentos_gone = _drop_models(settings, kept, before), _drop_bentos(kept, before)
    return Pruned(batches, validations, runs, bundles, models, bentos_gone)


def _drop_batches(quarantine: Path, before: datetime) -> int:
    old = [batch.batch_id for batch in list_batches(quarantine) if batch.rejected_at < before]
    for batch_id in old:
        quarantine_file(quarantine, batch_id).unlink()
    return len(old)


def _drop_validations(gx: Path, before: datetime) -> int:
    """What an ingest has found of its batch; rejected rows have their reasons with them, in the quarantine."""
    folders = [folder for folder in gx.rglob("validations") if folder.is_dir()]
    files = [file for folder in folders for file in folder.rglob("[!.]*") if file.is_file() and _written(file) < before]
    for file in files:
        file.unlink()
        for own in file.parents[:2]:  # the folders of its run and moment, in which nobody writes any more
            if not any(own.iterdir()):
                own.rmdir()
    return len(files)


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _half_written(folder: Path) -> list[tuple[datetime, Path]]:
    """What trainings left that were killed while they wrote their bundle."""
    return [(_written(path), path) for path in folder.glob(".*.new")]


def _dated(folder: Path) -> list[tuple[datetime, Path]]:
    """The folders that are named by when a training began, oldest first; an unfinished training has another name."""
    found = []
    for path in folder.glob("*"):
        try:
            found.append((datetime.strptime(path.name, "%Y%m%dT%H%M%S").replace(tzinfo=UTC), path))
        except ValueError:
            continue
    return sorted(found)


def _drop_folders(dated: list[tuple[datetime, Path]], before: datetime) -> int:
    old = [path for began, path in dated if began < before]
    for path in old:
        shutil.rmtree(path)
    return len(old)


def _teacher(settings: Settings) -> str | None:
    """Name of the bundle that a training needs which goes on from the champion, see `flows.going_on`."""
    try:
        return store.get(champion(settings.champion).tag).info.metadata.get(TEACHER)
    except (NoChampionError, NotFound):
        return None


def _asked_for(settings: Settings) -> set[str]:
    """Tags of the models that a rollback or a replay may need."""
    tags: set[str] = set()
    try:
        in_service = champion(settings.champion)
    except NoChampionError:
        pass
    else:
        tags |= {in_service.serves, in_service.tag, *(reign.tag for reign in in_service.before)}
    if settings.request_log.exists():
        log = RequestLog.of(settings)
        tags |= log.models()
        log.close()
    return tags


def _drop_models(settings: Settings, kept: set[str], before: datetime) -> int:
    ours = [model for model in store.list() if model.tag.name == MODEL_NAME]
    old = [model.tag for model in ours if str(model.tag) not in kept and model.info.creation_time < before]
    for tag in old:
        store.delete(tag)
        evaluation = settings.evaluation(str(tag))
        for file in (evaluation, evaluation.with_suffix(".probabilities.json")):
            file.unlink(missing_ok=True)
    return len(old)


def _drop_bentos(kept: set[str], before: datetime) -> int:
    old = [bento.tag for bento, models in our_bentos() if not kept & models and bento.info.creation_time < before]
    for tag in old:
        bentos.delete(tag)
    return len(old)
