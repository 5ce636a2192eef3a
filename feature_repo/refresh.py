"""The refresh: what all events together say (popularity, trends, the week's rhythm), as of now.

The features' own expressions run over the lake and the events that the service took since the last ingest. What
changed goes online, into the offline store, and into a new version of the packed item table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from feature_repo import refreshed
from feature_repo.engines.duckdb import TIME, DuckDBEngine
from feature_repo.errors import RegistryBehindError
from feature_repo.event_log import open_event_log
from feature_repo.feature import ITEM, MOMENT, TIME_OF_WEEK, Feature
from feature_repo.features import discover
from feature_repo.fresh_events import fresh_events
from feature_repo.materialization import write_online
from feature_repo.packed import PackedItems
from feature_repo.packed_files import PackedFiles
from feature_repo.packed_source import pack, packed_views
from feature_repo.store import Features

TURN = "refresher.lock"
"""In the home: held by who refreshes, as long as it does so again and again"""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did."""

    moment: datetime
    """As of when the values are."""
    version: str
    """Of the packed item table."""
    fresh: int
    """Events counted that the lake did not hold."""
    rows: dict[str, int]
    """Feature -> rows that had changed."""
    seconds: float


def refreshed_features() -> list[Feature]:
    """Features of items and of the week over all events; users' features are the stream path's."""
    return [f for f in discover().values() if f.reads == "events" and f.entity in (ITEM, TIME_OF_WEEK)]


def refresh(features: Features, now: datetime, *, run: str = "", wait_s: float = 0.0) -> Refreshed:
    """Bring the item features up to `now`.

    If the table is of a later moment already, up to that: a clock that ran backwards stands still instead, as an
    online row of an earlier moment would be refused.

    Args:
        now: UTC.
        run: id of the run, for lineage.
        wait_s: how long to wait for another writer of item features.

    Raises:
        EmptyLakeError: the lake holds no events.
        NotMaterializedError, RegistryBehindError: run `kairos features` first.
        FeaturesBusyError: another process writes item features.
        OnlineStoreDownError, EventLogDownError: the online store or the event log cannot be reached.
        DiskFullError: there is no room. What is online is newer than the offline store then, until the next refresh.
    """
    began = time.perf_counter()
    files = PackedFiles(features.settings.packed)
    features.lake.prepare()
    _check_registered(features)
    with files.writing(wait_s):
        known = _comparable(files.newest(), features)
        moment = max(now.astimezone(UTC), known.moment) if known else now.astimezone(UTC)
        with closing(open_event_log(features.settings)) as log:
            fresh = fresh_events(log, features.lake)
        computed = _compute(features, moment, fresh)
        changed = {
            feature: known.changed(feature.name, rows) if known and feature.entity is ITEM else rows
            for feature, rows in computed.items()
        }
        for feature, rows in changed.items():
            write_online(features.feast, feature, rows)
        batches = features.lake.batches_until(moment)
        for feature, rows in changed.items():
            if rows.num_rows:
                refreshed.keep(feature, rows, moment, features.settings.features, batches, run)
        packed = known or pack(features, moment)
        of_items = {feature.name: rows for feature, rows in changed.items() if feature.entity is ITEM}
        version = files.publish(packed.updated(moment, {n: r for n, r in of_items.items() if _is_packed(packed, n)}))
    counts = {feature.name: rows.num_rows for feature, rows in changed.items()}
    return Refreshed(moment, version, fresh.num_rows, counts, time.perf_counter() - began)


@contextmanager
def replacing(features: Features, until: datetime, *, wait_s: float = 60.0) -> Iterator[None]:
    """Around a materialisation up to `until`: no refresh comes in between, and what is packed in the end is what is
    online. If it fails, nothing is packed, so that the next refresh writes every row anew.

    Raises:
        FeaturesBusyError: a refresh does not end.
    """
    files = PackedFiles(features.settings.packed)
    with files.writing(wait_s):
        before = files.newest()
        files.forget()
        yield
        # Rows of later refreshes stay online, as the newest wins there.
        files.publish(pack(features, max(until, before.moment) if before else until))


def _comparable(packed: PackedItems | None, features: Features) -> PackedItems | None:
    """The table if it has the columns that Feast knows now."""
    return packed if packed and list(packed.views) == packed_views(features) else None


def _is_packed(packed: PackedItems, feature: str) -> bool:
    return any(view.name == feature for view in packed.views)


def _check_registered(features: Features) -> None:
    registered = {view.name: {f.name: f.dtype for f in view.features} for view in features.feast.list_feature_views()}
    for feature in refreshed_features():
        if registered.get(feature.name) != dict(feature.fields):
            raise RegistryBehindError(
                f"Feast knows {feature.name} otherwise than its feature file: run `kairos features` first"
            )


def _compute(features: Features, moment: datetime, fresh: pa.Table) -> dict[Feature, pa.Table]:
    """Rows of every refreshed feature. In this process whatever the engine of the batch: Spark alone takes longer to
    start than the refresh may."""
    scratch = features.settings.scratch
    engine = DuckDBEngine(features.lake, fresh=fresh if fresh.num_rows else None, scratch=scratch)
    wanted = refreshed_features()
    with engine.cut(moment, [feature.reads for feature in wanted]) as cut:
        rows = {feature: feature.expression(cut.tables["events"]) for feature in wanted}
        return {
            feature: cut.con.to_pyarrow(table.mutate(**{MOMENT: table[MOMENT].cast(TIME)}))
            for feature, table in rows.items()
        }
