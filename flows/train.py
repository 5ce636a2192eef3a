"""The training step: point-in-time frames out of Feast, the hybrid trained, its bundle saved."""

from __future__ import annotations

import hashlib
import logging
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow as pa
from prefect import flow, task

from feature_repo import schema as s
from feature_repo.definitions import ITEM_SERVICE, USER_SERVICE
from feature_repo.store import Features
from flows.features import data_timeline
from flows.frames import catch_up, items_at, snapshot_at
from flows.going_on import Base, Begun, Origin, base_of
from flows.naming import run_name
from flows.time_limits import TIME_LIMITS_S
from flows.timeline import Timeline, just_before
from flows.training_turn import WAIT_S, training_turn
from infra.settings import PROJECT_ROOT, Settings, settings
from models import bundle
from models.boosted import BoostedConfig
from models.errors import NotUpdatableError
from models.items import ITEM_COLUMNS
from models.recommender import Recommender
from models.sources.encoder import SequenceConfig
from models.training import TrainingConfig, train
from models.update import Lesson, update

_log = logging.getLogger(__name__)


def train_bundle(
    config: Settings, model: TrainingConfig | None = None, *, anew: bool = False, wait_s: float = WAIT_S
) -> Path:
    """Train on everything up to the cut and save the bundle, when no other training is at it.

    From the champion on where that will do, see `flows.going_on`, else anew.

    Args:
        model: the choices of a training; None: those of the settings.
        anew: whatever there is to go on from.
        wait_s: how long to wait for another training's end.

    Returns:
        The bundle's folder.

    Raises:
        FeaturesBusyError: another training took longer.
        EmptyLakeError: there are no events.
        NotMaterializedError: there are no features.
    """
    with training_turn(config, wait_s):
        begun = begin(config, model or configured(config), data_timeline(config))
        recommender, origin = _trained(begun, "asked for" if anew else base_of(config, begun))
        folder = save(recommender, origin, begun, config.bundles / begun.run.name)
        begun.unfinished.clear()
    return folder


def save(recommender: Recommender, origin: Origin, begun: Begun, folder: Path) -> Path:
    """Write what came of a training as a bundle; returns its folder."""
    features, cut = begun.features, begun.cuts.cut
    return bundle.save(
        recommender,
        folder,
        feature_service=USER_SERVICE,
        features=features.feature_names(USER_SERVICE),
        item_features=[name for name in features.feature_names(ITEM_SERVICE) if name.split(":")[1] in ITEM_COLUMNS],
        fingerprint=fingerprint(begun.events, cut),
        code_version=code_version(),
        items_at=cut.timestamp(),
        origin=asdict(origin),
    )


def begin(config: Settings, model: TrainingConfig, cuts: Timeline) -> Begun:
    """What a training on everything before the cut starts with."""
    features = Features.open(config)
    # Every training needs it, and the features are registered with it: what there is to go on from is asked after that.
    catch_up(features, [just_before(cuts.cut)])
    run = config.runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return Begun(model, cuts, features, features.events(end=just_before(cuts.cut)), run)


def _trained(begun: Begun, base: Base | str) -> tuple[Recommender, Origin]:
    if isinstance(base, Base):
        try:
            return _gone_on(begun, base)
        except NotUpdatableError as error:
            base = str(error)
    return _anew(begun, base)


def _anew(begun: Begun, why: str) -> tuple[Recommender, Origin]:
    _log.info("training anew: %s", why)
    features, events, cuts = begun.features, begun.events, begun.cuts
    catch_up(features, cuts.moments)
    recommender = train(
        events,
        # One at a time: a snapshot is large, and the training needs each only once.
        (snapshot_at(features, events, cut) for cut in cuts.training_cuts),
        items_at(features, events, cuts.cut),
        final_cut=cuts.cut.timestamp(),
        config=begun.model,
        run_dir=begun.run,
        unfinished=begun.unfinished,
    )
    return recommender, Origin.anew(begun, why)


def _gone_on(begun: Begun, base: Base) -> tuple[Recommender, Origin]:
    _log.info("going on from %s", base.name)
    features, events, cuts = begun.features, begun.events, begun.cuts
    lesson_at, lesson = base.lesson_at(begun), None
    model, teacher = base.load(taught=lesson_at is not None)
    if lesson_at and teacher:
        catch_up(features, [just_before(lesson_at)])
        end, read = (lesson_at + cuts.step).timestamp(), partial(snapshot_at, features, events, lesson_at)
        lesson = Lesson(teacher, lesson_at.timestamp(), end, read)
    recommender = update(
        model,
        events,
        items_at(features, events, cuts.cut),
        final_cut=cuts.cut.timestamp(),
        lesson=lesson,
        config=begun.model,
        run_dir=begun.run,
        unfinished=begun.unfinished,
    )
    learned = recommender.metrics.get("ranker", {}).get("lists", 0.0)
    return recommender, base.origin_of_next(begun, taught=learned > 0)


def configured(config: Settings) -> TrainingConfig:
    """The choices of a training that the settings make."""
    trees = BoostedConfig(seed=config.seed) if config.trees else None
    sequence = SequenceConfig(devices=config.training_devices)
    return seeded(TrainingConfig(sequence=sequence, trees=trees), config.seed)


def seeded(model: TrainingConfig, seed: int) -> TrainingConfig:
    """The same choices, every random part started from `seed`."""
    parts = {name: replace(getattr(model, name), seed=seed) for name in ("als", "sequence", "fit")}
    return replace(model, **parts)


def fingerprint(events: pa.Table, cut: datetime) -> str:
    """Tells apart what two bundles were trained on: the cut, and the events' number and content."""
    digest = hashlib.sha256(f"{cut.isoformat()} {events.num_rows}".encode())
    for column in (s.USER_ID, s.ITEM_ID, s.TIMESTAMP):
        digest.update(pd.util.hash_array(events[column].to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()[:16]


def code_version() -> str:
    """The commit, where there is one; else the package's version."""
    try:
        command = ["git", "-C", str(PROJECT_ROOT), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version("kairos-recsys")


# No retry: a training that failed once for lack of memory or data does so again, an hour later.
@task(name="train-hybrid")
def _train(anew: bool) -> Path:
    return train_bundle(settings(), anew=anew)


@flow(name="train", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["train"])
def train_flow(anew: bool = False) -> Path:
    """Train the hybrid on the features as they stand; returns the bundle's folder.

    Args:
        anew: whatever there is to go on from.
    """
    return _train(anew)
