"""The training step: point-in-time frames out of Feast, the hybrid trained, its bundle saved."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow as pa
from prefect import flow, task

from feature_repo import schema as s
from feature_repo.definitions import ITEM_SERVICE, USER_SERVICE
from feature_repo.store import Features
from flows.feature_readers import live_features
from flows.features import data_timeline, refuse_breaking
from flows.naming import run_name
from flows.time_limits import TIME_LIMITS_S
from flows.timeline import Timeline, just_before
from flows.training_turn import WAIT_S, training_turn
from infra.settings import PROJECT_ROOT, Settings, settings
from models import bundle
from models.boosted import BoostedConfig
from models.items import ITEM_COLUMNS
from models.sources.encoder import SequenceConfig
from models.state import UserState
from models.training import Snapshot, TrainingConfig, train
from models.unfinished import Unfinished


def states_at(features: Features, events: pa.Table, cut: datetime) -> list[UserState]:
    """What was known at a cut of every user who had done something before it, through a point-in-time join."""
    users = _seen(events, s.USER_ID, cut)
    at = cut.timestamp()
    frame = features.users_at(users, just_before(cut))
    rows = zip(*(frame[column] for column in frame), strict=True)
    return [
        UserState.from_row(user, dict(zip(frame.columns, row, strict=True)), at)
        for user, row in zip(users, rows, strict=True)
    ]


def items_at(features: Features, events: pa.Table, cut: datetime) -> pd.DataFrame:
    """What was known at a cut of every item seen before it, with its `item_id`."""
    return features.items_at(_seen(events, s.ITEM_ID, cut), just_before(cut)).reset_index()


def _seen(events: pa.Table, column: str, cut: datetime) -> list[str]:
    past = events.filter(pa.compute.less(events[s.TIMESTAMP], pa.scalar(cut, events[s.TIMESTAMP].type)))
    return sorted(past[column].unique().to_pylist())


def catch_up(features: Features, cuts: Timeline) -> None:
    """Compute the snapshots that the lake's newest events ask for; nothing where they are up to date.

    The cuts move with the newest event: without this a frame would silently come from an older moment.
    """
    refuse_breaking(features.settings)
    features.compute(cuts.moments)
    features.apply(live_features(features.settings))


def train_bundle(config: Settings, model: TrainingConfig | None = None, wait_s: float = WAIT_S) -> Path:
    """Train on everything up to the cut and save the bundle, when no other training is at it.

    Args:
        model: by default as the settings say.
        wait_s: how long to wait for another training's end.

    Returns:
        The bundle's folder.

    Raises:
        FeaturesBusyError: another training took longer.
        EmptyLakeError: there are no events.
        NotMaterializedError: there are no features.
    """
    with training_turn(config, wait_s):
        return _trained(config, model)


def _trained(config: Settings, model: TrainingConfig | None) -> Path:
    trees = BoostedConfig(seed=config.seed) if config.trees else None
    sequence = SequenceConfig(devices=config.training_devices)
    model = model or seeded(TrainingConfig(sequence=sequence, trees=trees), config.seed)
    cuts = data_timeline(config)
    features = Features.open(config)
    catch_up(features, cuts)
    events = features.events(end=just_before(cuts.cut))

    def snapshots() -> Iterator[Snapshot]:
        # One at a time: a snapshot is large, and the training needs each only once.
        for cut in cuts.training_cuts:
            yield Snapshot(cut.timestamp(), states_at(features, events, cut), items_at(features, events, cut))

    unfinished = Unfinished(config.runs / "unfinished")
    run = config.runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    recommender = train(
        events,
        snapshots(),
        items_at(features, events, cuts.cut),
        final_cut=cuts.cut.timestamp(),
        config=model,
        run_dir=run,
        unfinished=unfinished,
    )
    folder = bundle.save(
        recommender,
        config.bundles / run.name,
        feature_service=USER_SERVICE,
        features=features.feature_names(USER_SERVICE),
        item_features=[name for name in features.feature_names(ITEM_SERVICE) if name.split(":")[1] in ITEM_COLUMNS],
        fingerprint=fingerprint(events, cuts.cut),
        code_version=code_version(),
        items_at=cuts.cut.timestamp(),
    )
    unfinished.clear()
    return folder


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
def _train() -> Path:
    return train_bundle(settings())


@flow(name="train", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["train"])
def train_flow() -> Path:
    """Train the hybrid on the features as they stand; returns the bundle's folder."""
    return _train()
