"""From a feature's value back to the snapshot and run that computed it, and the batches and events that went in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
from feast.errors import FeastObjectNotFoundException

from feature_repo import schema as s
from feature_repo.batch import Batch, batch_file
from feature_repo.errors import UnknownFeatureError, UnknownValueError
from feature_repo.event import Event
from feature_repo.event_log import INGEST_CONSUMER, open_event_log, unread
from feature_repo.feature import HOUR_OF_WEEK, MOMENT, Feature
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.manifest import Manifest
from feature_repo.snapshots import TABLES
from feature_repo.store import Features
from infra.settings import Settings

NEWEST_EVENTS: Final = 5
"""How many of the events that went in are shown."""
_SHOWN: Final = (s.EVENT_ID, s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, s.VALUE, s.BATCH_ID)
_HOUR: Final = f"(isodow({s.TIMESTAMP}) - 1) * 24 + hour({s.TIMESTAMP})"
_IN_MANIFEST: Final = f"{s.BATCH_ID} IS NULL OR {s.BATCH_ID} IN (SELECT unnest($batches))"
_KEYS: Final = {s.USER_ID: s.USER_ID, s.ITEM_ID: s.ITEM_ID, HOUR_OF_WEEK: _HOUR}
"""Join key of an entity -> which of the lake's events are the entity's; of any other entity all are."""


@dataclass(frozen=True)
class Share:
    """What one batch gave.

    Args:
        batch: what the lake knows of it; None if that was not kept.
        events: events of the entity; None for a table, whose rows do not tell where they are from.
        newest: the newest of them.
    """

    batch_id: str
    batch: Batch | None
    events: int | None
    newest: datetime | None


@dataclass(frozen=True)
class Computed:
    """A value that a snapshot holds.

    Args:
        moment: that the value is true for.
        expired: whether the feature's ttl had run out by the time asked for: then it counts as unknown.
        manifest: None if the snapshot has none.
        late: events of the entity up to the moment that reached the lake after the snapshot was computed.
    """

    value: Any
    moment: datetime
    expired: bool
    snapshot: Path
    manifest: Manifest | None
    shares: list[Share]
    newest_events: list[dict[str, Any]]
    late: int


@dataclass(frozen=True)
class Online:
    """The value that requests see.

    Args:
        since: if it is newer than the snapshot: the entity's events that the snapshot has not, oldest first; those
            that the service took and no ingest brought to the lake yet have no batch id.
    """

    value: Any
    moment: datetime
    from_snapshot: bool
    since: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Lineage:
    """Where a feature's value comes from.

    Args:
        feature: `view:feature`.
        computed: None for an entity that no snapshot knows yet.
        online: None if a moment was asked for, or if the online store knows nothing.
    """

    feature: str
    entity: str
    computed: Computed | None
    online: Online | None


def lineage(features: Features, name: str, entity: str, at: datetime | None = None) -> Lineage:
    """Trace one value.

    Args:
        name: `view:feature`.
        entity: the entity's id.
        at: UTC; the value as it was known then. None: the newest, and the online one.

    Raises:
        UnknownFeatureError: there is no such feature.
        UnknownValueError: nothing is known of the entity then.
    """
    feature, column = _named(name)
    config = features.settings
    online = _online(features, name, feature, entity) if at is None else None
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        row = _snapshot_row(con, config.features / feature.name, feature, column, entity, at)
        computed = _computed(con, config.lake, feature, entity, row, at) if row else None
        if online and computed and online.moment <= computed.moment:
            online = Online(online.value, online.moment, from_snapshot=True)
        elif online:
            since = _since(con, features, feature, entity, computed, online.moment)
            online = Online(online.value, online.moment, from_snapshot=False, since=since)
    if computed is None and online is None:
        when = f" at {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
        raise UnknownValueError(
            f"{name} of {feature.entity.join_key} {entity!r} is not known{when}: no snapshot holds the entity; "
            f"is the id right? `kairos features` computes what is missing"
        )
    return Lineage(name, f"{feature.entity.join_key}={entity}", computed, online)


def _named(name: str) -> tuple[Feature, str]:
    view, _, column = name.partition(":")
    known = discover()
    if view not in known:
        raise UnknownFeatureError(f"no feature view {view!r}; expected VIEW:FEATURE with a view of {', '.join(known)}")
    if column not in known[view].fields:
        raise UnknownFeatureError(
            f"view {view!r} has no feature {column!r}; expected one of {', '.join(known[view].fields)}"
        )
    return known[view], column


def _snapshot_row(
    con: duckdb.DuckDBPyConnection, folder: Path, feature: Feature, column: str, entity: str, at: datetime | None
) -> dict[str, Any] | None:
    """The entity's newest row that is not later than `at`: `value`, `event_timestamp`, `filename`."""
    if not any(folder.glob("*.parquet")):
        return None
    before = f"AND {MOMENT} <= $at" if at else ""
    rows = con.sql(
        f'SELECT "{column}" AS value, {MOMENT}, filename FROM read_parquet($files, filename = true) '
        f'WHERE "{feature.entity.join_key}"::VARCHAR = $entity {before} ORDER BY {MOMENT} DESC LIMIT 1',
        params={"files": str(folder / "*.parquet"), "entity": entity} | ({"at": at} if at else {}),
    ).to_arrow_table()
    return rows.to_pylist()[0] if rows.num_rows else None


def _computed(
    con: duckdb.DuckDBPyConnection,
    lake: Path,
    feature: Feature,
    entity: str,
    row: Mapping[str, Any],
    at: datetime | None,
) -> Computed:
    snapshot, moment = Path(row["filename"]), row[MOMENT]
    manifest = Manifest.of(snapshot)
    expired = bool(feature.ttl and at and at - moment > feature.ttl)
    if feature.reads in TABLES:
        shares = list(_table_shares(lake, feature.reads))
        return Computed(row["value"], moment, expired, snapshot, manifest, shares, [], 0)
    went_in, parameters = _events(lake, feature, entity)
    batches = manifest.batches if manifest else []
    until = f"{went_in} AND {s.TIMESTAMP} <= $moment"
    newest_first = f"ORDER BY {s.TIMESTAMP} DESC, {s.EVENT_ID}"
    # The input `history` holds only so many of a user's newest events.
    most = f"LIMIT {s.HISTORY_EVENTS}" if feature.streamed else ""
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE went_in AS {until} AND ({_IN_MANIFEST}) {newest_first} {most}",
        {**parameters, "moment": moment, "batches": batches},
    )
    counts = con.execute(
        f"SELECT {s.BATCH_ID}, count(*), max(epoch_us({s.TIMESTAMP})) FROM went_in GROUP BY 1 ORDER BY 3 DESC"
    ).fetchall()
    shares = [
        Share(batch or "", Batch.of(batch_file(lake, batch)) if batch else None, events, _time(newest))
        for batch, events, newest in counts
    ]
    late = con.execute(
        f"SELECT count(*) FROM ({until} AND NOT ({_IN_MANIFEST}))", {**parameters, "moment": moment, "batches": batches}
    ).fetchall()
    newest_events = con.sql(f"FROM went_in {newest_first} LIMIT {NEWEST_EVENTS}").to_arrow_table().to_pylist()
    return Computed(row["value"], moment, expired, snapshot, manifest, shares, newest_events, int(late[0][0]))


def _events(lake: Path, feature: Feature, entity: str) -> tuple[str, dict[str, Any]]:
    """SQL of the entity's events, and its parameters. Impressions change no feature."""
    key = _KEYS.get(feature.entity.join_key)
    of_entity = f"AND ({key})::VARCHAR = $entity" if key else ""
    sql = (
        f"SELECT {', '.join(_SHOWN)}, {s.TIMESTAMP} FROM ({Lake(lake).events_sql}) "
        f"WHERE {s.EVENT_TYPE} <> '{s.IMPRESSION}' {of_entity}"
    )
    return sql, {"entity": entity} if key else {}


def _table_shares(lake: Path, table: str) -> Iterator[Share]:
    """The batches that brought rows of the table, the newest first."""
    for file in sorted((lake / "batches").glob("*.json"), reverse=True):
        batch = Batch.of(file)
        if batch and getattr(batch, table):
            yield Share(batch.batch_id, batch, None, None)


def _online(features: Features, name: str, feature: Feature, entity: str) -> Online | None:
    """The online value, as a request reads it; from which snapshot or event is found out later."""
    key = feature.entity.join_key
    typed: str | int = int(entity) if key == HOUR_OF_WEEK and entity.isdigit() else entity
    try:
        answer = features.feast.get_online_features([name], [{key: typed}])
    except FeastObjectNotFoundException:  # nothing was applied yet
        return None
    column = name.partition(":")[2]
    # `to_dict` has the time in whole seconds only.
    place = list(answer.proto.metadata.feature_names.val).index(column)
    moment = answer.proto.results[place].event_timestamps[0].ToDatetime(UTC)
    if moment <= s.BEGINNING:
        return None
    return Online(answer.to_dict()[column][0], moment, from_snapshot=False)


def _since(
    con: duckdb.DuckDBPyConnection,
    features: Features,
    feature: Feature,
    entity: str,
    computed: Computed | None,
    moment: datetime,
) -> list[dict[str, Any]]:
    """The entity's events up to `moment` that are not in the snapshot, oldest first."""
    config = features.settings
    found: dict[str, dict[str, Any]] = {}
    if any(Lake(config.lake).events_folder.glob("*.parquet")):
        sql, parameters = _events(config.lake, feature, entity)
        rows = con.sql(
            f"{sql} AND {s.TIMESTAMP} <= $moment AND ({s.TIMESTAMP} > $start OR NOT ({_IN_MANIFEST}))",
            params={
                **parameters,
                "moment": moment,
                "start": computed.moment if computed else s.BEGINNING,
                "batches": computed.manifest.batches if computed and computed.manifest else [],
            },
        ).to_arrow_table()
        found = {row[s.EVENT_ID]: row for row in rows.to_pylist()}
    for event in _log(config):
        if event.timestamp and event.timestamp <= moment and _is_of(event, feature, entity):
            row = {name: getattr(event, name, None) for name in _SHOWN} | {s.TIMESTAMP: event.timestamp}
            found.setdefault(event.event_id, row)
    return sorted(found.values(), key=lambda row: (row[s.TIMESTAMP], row[s.EVENT_ID]))


def _log(config: Settings) -> Iterator[Event]:
    """The events that the service took and no ingest has brought to the lake yet."""
    with closing(open_event_log(config)) as log:
        for events in unread(log, log.place(INGEST_CONSUMER).position):
            yield from (event for _, event in events)


def _is_of(event: Event, feature: Feature, entity: str) -> bool:
    key = feature.entity.join_key
    return event.event_type != s.IMPRESSION and key in (s.USER_ID, s.ITEM_ID) and getattr(event, key) == entity


def _time(epoch_us: int) -> datetime:
    return datetime.fromtimestamp(epoch_us / 1e6, UTC)
