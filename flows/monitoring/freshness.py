"""How far every stage is behind what it should know, in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb
from feast.errors import FeatureViewNotFoundException

from feature_repo import schema as s
from feature_repo.batch import Batch, batches_of
from feature_repo.errors import EmptyLakeError
from feature_repo.event_log import INGEST_CONSUMER, open_event_log
from feature_repo.lake import Lake
from feature_repo.snapshots import newest as newest_snapshot
from feature_repo.store import Features
from flows.backup_manifest import backups_in
from flows.bundles import answering, known_until
from flows.monitoring.measured import Look, Measured
from flows.serving import LIVE
from infra.settings import Settings
from infra.thresholds import FreshnessLimits, thresholds
from models import registry
from models.errors import BundleError

_VIEW: Final = "user_activity"
"""A view with a row for every user of the lake: what it knows of, all know of"""


def look_at_freshness(config: Settings, now: datetime) -> Look:
    """Every stage; one that was never run is behind since the first batch came.

    Args:
        now: UTC, by the wall clock.

    Raises:
        EmptyLakeError: the lake tells of batches and has no event.
        FeatureError: the event log or Feast's registry cannot be reached.
    """
    limits, lake = thresholds(config).freshness, Lake(config.lake)
    batches = batches_of(lake.root)
    try:
        newest = lake.newest_event()
    except EmptyLakeError:
        if batches:
            raise
        return Look("freshness", now, "no event was ever ingested")
    first = batches[0].ingested_at if batches else now
    stages = _of_features(config, now, newest, first, limits) + _of_models(config, now, newest, first, limits)
    if is_history := not _was_ever_live(lake, batches):
        about = f"seconds behind; the data are history and end at {newest:%Y-%m-%d %H:%M} UTC"
    else:
        about = "seconds behind"
        stages.insert(0, _behind("events", now - newest, limits.events))
    stages.append(_behind("log", _waits_in_log(config, now, is_history), limits.log))
    return Look("freshness", now, about, tuple(stages))


def training_behind(config: Settings, newest: datetime) -> timedelta:
    """How much newer the newest event is than what the champion learned from and its holdout.

    Raises:
        NoChampionError: none is in service.
        ValueError, TypeError: its pointer is damaged.
    """
    cut = known_until(registry.champion(config.champion).tag)
    return newest - cut - timedelta(days=config.holdout_days)


def answers_behind(config: Settings, newest: datetime) -> timedelta | None:
    """How much newer the newest event is than what answers knows; None: it is to answer as it was judged.

    Raises:
        NoChampionError, BundleError, ValueError, TypeError: as `training_behind`.
    """
    held = registry.champion(config.champion)
    return None if held.is_held else newest - known_until(answering(held))


def _of_features(
    config: Settings, now: datetime, newest: datetime, first: datetime, limits: FreshnessLimits
) -> list[Measured]:
    try:
        online = Features.open(config).feast.get_feature_view(_VIEW).most_recent_end_time
    except FeatureViewNotFoundException:
        online = None
    known = {"features": newest_snapshot(config.features, _VIEW), "online": online}
    # The events of a shop's history may be older than its first batch: that would be no lag.
    lags = {stage: newest - until if until else now - first for stage, until in known.items()}
    return [_behind(stage, lag, getattr(limits, stage)) for stage, lag in lags.items()]


def _of_models(
    config: Settings, now: datetime, newest: datetime, first: datetime, limits: FreshnessLimits
) -> list[Measured]:
    backups = [file.stat().st_mtime for file in backups_in(config.backups_folder)]
    backup = datetime.fromtimestamp(max(backups), UTC) if backups else first
    stages = [_behind("backup", now - backup, limits.backup)]
    try:
        champion = registry.champion(config.champion)
        stages.append(_behind("training", training_behind(config, newest), limits.training))
        if (answers := answers_behind(config, newest)) is not None:
            stages.append(_behind("catch-up", answers, limits.catch_up))
    except (registry.NoChampionError, BundleError, ValueError, TypeError):
        # What cannot be read serves nobody; `kairos doctor` says what is wrong with it.
        return [*stages, _behind("training", now - first, limits.training)]
    file, since = config.evaluation(champion.tag), datetime.fromisoformat(champion.since)
    # One that is back after a rollback was evaluated in its earlier reign, and is again with the next run.
    evaluated = max(datetime.fromtimestamp(file.stat().st_mtime, UTC), since) if file.exists() else since
    return [*stages, _behind("evaluation", now - evaluated, limits.evaluation)]


def _was_ever_live(lake: Lake, batches: Sequence[Batch]) -> bool:
    """Whether a batch came soon after its newest event. Where all were old when they came, nobody waits for newer ones.

    Of a single batch that is old nothing follows: the end of what was sent may be missing.
    """
    query = f"SELECT {s.BATCH_ID}, max({s.TIMESTAMP}) FROM ({lake.events_sql}) GROUP BY 1"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        newest = dict(con.execute(query).fetchall())
    return any(batch.ingested_at - newest[batch.batch_id] <= LIVE for batch in batches if batch.batch_id in newest)


def _waits_in_log(config: Settings, now: datetime, is_history: bool) -> timedelta:
    """Age of the oldest event that the lake has not; where the clock of the service stands in the past, 0."""
    with closing(open_event_log(config)) as log:
        waiting = log.read(log.place(INGEST_CONSUMER).position, 1)
    if is_history or not waiting:
        return timedelta(0)
    [(_, event)] = waiting
    return now - event.at(now).timestamp  # type: ignore[operator]  # `at` gives it one


def _behind(stage: str, lag: timedelta, limit: float) -> Measured:
    return Measured(stage, max(lag.total_seconds(), 0.0), high=limit)
