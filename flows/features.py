"""The feature step: snapshots at the training cuts and now, Feast's registry, the online store."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.errors import FeaturesBusyError
from feature_repo.event_log import FEATURES_CONSUMER, INGEST_CONSUMER, open_event_log
from feature_repo.evolution import refuse_to_break
from feature_repo.lake import Lake
from feature_repo.refresh import replacing
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from flows.feature_readers import live_features
from flows.going_on import next_lesson
from flows.naming import run_name, this_run
from flows.quality.check import check_features_task
from flows.retries import again
from flows.time_limits import TIME_LIMITS_S
from flows.timeline import Timeline, timeline
from flows.training_turn import training_turn
from infra.settings import Settings, settings

log = logging.getLogger("kairos.features")


@dataclass(frozen=True)
class FeatureReport:
    """What the step did: rows written per view (0: was up to date), and the views in the online store."""

    rows: dict[str, int]
    views: list[str]
    timeline: Timeline


def data_timeline(config: Settings) -> Timeline:
    """The cuts of the data that the lake holds now.

    Raises:
        EmptyLakeError: it holds none.
    """
    summary = Lake(config.lake).summary()
    return timeline(summary["first"], summary["newest"], config)  # type: ignore[arg-type]


def compute_snapshots(config: Settings, cuts: Timeline, run: str = "") -> dict[str, int]:
    """Write the snapshots that are missing and remove those that nothing asks for; returns new rows per feature.

    While a training is at it none is removed: it began at cuts that may have moved since, and reads them one by one.
    """
    features = Features.open(config)
    rows = features.compute(cuts.moments, run=run)
    try:
        with training_turn(config, wait_s=0):
            features.prune([*cuts.moments, *next_lesson(config)])
    except FeaturesBusyError as error:
        log.info("snapshots stay for now: %s", error)
    return rows


def apply_definitions(config: Settings) -> list[str]:
    """Register the definitions with Feast; returns the views' names."""
    return Features.open(config).apply(live_features(config))


def refuse_breaking(config: Settings) -> None:
    """Stop before anything is written, if a model in service would lose a feature.

    Raises:
        LiveFeatureError: it would; names the bundle and the feature.
        FeatureFileError: a feature file is wrong.
    """
    refuse_to_break(Features.open(config).changes(), live_features(config))


def ingested_until(config: Settings) -> int:
    """Position of the event log up to which the lake has it."""
    with closing(open_event_log(config)) as log:
        return log.place(INGEST_CONSUMER).position


def materialize_online(config: Settings, cuts: Timeline, log_position: int) -> None:
    """Bring the newest snapshots online; what the service took after `log_position` it applies again on top."""
    features = Features.open(config)
    with replacing(features, cuts.newest):
        features.materialize(cuts.newest)
        StreamPath(features).take_in(cuts.newest)
    with closing(open_event_log(config)) as log:
        log.rewind(FEATURES_CONSUMER, log_position)


@task(name="compute-snapshots", **again(1))
def _compute(cuts: Timeline) -> dict[str, int]:
    return compute_snapshots(settings(), cuts, this_run())


@task(name="feast-apply", **again(2))
def _apply() -> list[str]:
    return apply_definitions(settings())


@task(name="materialize-online", **again(2))
def _materialize(cuts: Timeline, log_position: int) -> None:
    materialize_online(settings(), cuts, log_position)


@flow(name="features", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["features"])
def features_flow() -> FeatureReport:
    """Bring Feast up to date with the lake; what is up to date already is left alone."""
    log_position = ingested_until(settings())  # before the lake is looked at: an ingest may come in between
    refuse_breaking(settings())
    cuts = data_timeline(settings())
    rows = _compute(cuts)
    check_features_task(settings(), cuts.newest, this_run())
    views = _apply()
    _materialize(cuts, log_position)
    create_table_artifact(
        key="feature-counts",
        table=[{"view": name, "new rows": count} for name, count in rows.items()],
        description=f"Feature snapshots up to {cuts.newest:%Y-%m-%d %H:%M}",
    )
    return FeatureReport(rows, views, cuts)
