"""Feast, as Kairos uses it: apply, materialise, point-in-time frames, online rows. The only door to the features."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureStore, FeatureView, FileSource
from feast.errors import FeatureServiceNotFoundException
from feast.infra.provider import get_provider

from feature_repo import schema as s
from feature_repo import snapshots
from feature_repo.backends import open_feast
from feature_repo.definitions import ITEM_SERVICE, USER_SERVICE, definitions
from feature_repo.engines.choice import engine_of
from feature_repo.errors import NotMaterializedError, RowsLostError
from feature_repo.evolution import Change
from feature_repo.feature import HOUR_OF_WEEK, MOMENT
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.materialization import bring_online
from feature_repo.online import OnlineReader, OnlineRow
from feature_repo.registry import one_registry_writer, register, registry_changes
from feature_repo.request_time import HOLIDAYS_IN, REQUEST_AT
from infra.settings import Settings

EVENT_COLUMNS = (s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, s.QUANTITY, s.PRICE, s.VALUE)

# Feast and Ibis warn about what Kairos does on purpose.
warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)


def hour_of_week(at: float) -> int:
    """Hour of the week of an epoch second; 0 is Monday 00:00 UTC."""
    return int((at - 345_600.0) % 604_800.0 // 3_600.0)


@dataclass(frozen=True)
class Features:
    """The feature platform of one installation."""

    settings: Settings
    feast: FeatureStore

    @classmethod
    def open(cls, settings: Settings) -> Features:
        return cls(settings, open_feast(settings))

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    # -- writing -----------------------------------------------------------------------------------

    def compute(
        self,
        moments: Sequence[datetime],
        *,
        run: str = "",
        only: Sequence[str] = (),
        backfill: bool = False,
        progress: snapshots.Progress = lambda done, total, feature, moment: None,
    ) -> dict[str, int]:
        """Write the features' snapshots as of `moments`; those already written are kept.

        Args:
            run: of the flow that does this, for lineage.
            only: names of features; empty: all.
            backfill: keep the moments from now on, and keep them up to date.
            progress: told after every snapshot.

        Returns:
            New rows per feature.

        Raises:
            EmptyLakeError: the lake holds no events.
            FeatureFileError: a feature file is wrong.
            FeaturesBusyError: another process is at it.
            DiskFullError: there is no room for a snapshot; those before it are whole.
            SparkError: the engine is Spark, and it cannot be started or failed.
        """
        wanted = [feature for name, feature in discover().items() if not only or name in only]
        root = self.settings.features
        engine = engine_of(self.settings)
        return snapshots.compute(
            engine, self.lake, wanted, moments, root, run=run, backfill=backfill, progress=progress
        )

    def missing(self, moments: Sequence[datetime]) -> list[snapshots.Missing]:
        """The snapshots that `compute` would write."""
        return snapshots.missing(self.lake, discover().values(), moments, self.settings.features)

    def prune(self, moments: Sequence[datetime]) -> int:
        """Remove snapshots that nothing asks for any more, see `snapshots.prune`; returns how many."""
        return snapshots.prune(discover().values(), moments, self.settings.features)

    def changes(self) -> list[Change]:
        """What `apply` would change in Feast's registry."""
        return registry_changes(self.feast, definitions(self.settings.features))

    def apply(self, live: Mapping[str, Collection[str]] = MappingProxyType({})) -> list[str]:
        """Register entities, views and services with Feast, and take out what no feature file makes any more;
        idempotent, whole or not at all.

        Args:
            live: bundle in service -> features that it reads, as `view:feature`.

        Returns:
            The views' names.

        Raises:
            LiveFeatureError: a bundle in service reads what would go; nothing was changed.
            FeatureFileError: a feature file is wrong.
            FeaturesBusyError: another process writes the registry.
        """
        objects = definitions(self.settings.features)
        register(self.feast, self.settings, objects, live)
        self._readers.clear()  # they hold the views as they were
        return [o.name for o in objects if isinstance(o, FeatureView)]

    def materialize(self, until: datetime) -> None:
        """Bring the newest row of every entity, as of `until`, into the online store."""
        # Feast notes in the registry what it has materialised: with an old copy it would undo somebody's apply.
        with one_registry_writer(self.feast, self.settings):
            self.feast.refresh_registry()
            bring_online(self.feast, discover().values(), until)

    # -- reading, point in time ----------------------------------------------------------------------

    def users_at(self, users: Iterable[str], moment: datetime) -> pd.DataFrame:
        """What was known of each user at `moment`: one row per user, in the order given, index `user_id`.

        Raises:
            RowsLostError: the store returned other rows than asked for.
        """
        ids = list(users)
        asked = pd.DataFrame({s.USER_ID: ids, **self.moment_keys(moment), MOMENT: pd.Timestamp(moment)})
        return self._historical(asked, USER_SERVICE, s.USER_ID)

    def items_at(self, items: Iterable[str], moment: datetime) -> pd.DataFrame:
        """What was known of each item at `moment`: one row per item, in the order given, index `item_id`.

        Raises:
            RowsLostError: the store returned other rows than asked for.
        """
        asked = pd.DataFrame({s.ITEM_ID: list(items), MOMENT: pd.Timestamp(moment)})
        return self._historical(asked, ITEM_SERVICE, s.ITEM_ID)

    def _historical(self, asked: pd.DataFrame, service: str, key: str) -> pd.DataFrame:
        asked[MOMENT] = asked[MOMENT].astype("datetime64[us, UTC]")
        got = self.feast.get_historical_features(asked, self.service(service)).to_df()
        if len(got) != len(asked):
            raise RowsLostError(f"asked Feast for {len(asked)} rows of {service} and got {len(got)}")
        told = asked.columns.drop(key)
        return got.set_index(key).drop(columns=told).loc[asked[key]]

    def service(self, name: str) -> Any:
        """Feast's feature service of that name.

        Raises:
            NotMaterializedError: Feast does not know it yet.
        """
        try:
            return self.feast.get_feature_service(name)
        except FeatureServiceNotFoundException as error:
            raise NotMaterializedError("no features yet: run `kairos features` first") from error

    def events(self, start: datetime | None = None, end: datetime | None = None) -> pa.Table:
        """Events of the lake by time, `start` and `end` included: `EVENT_COLUMNS` and `timestamp`, oldest first."""
        source = FileSource(name="events", path=self.lake.events, timestamp_field=s.TIMESTAMP)
        job = get_provider(self.feast.config).offline_store.pull_all_from_table_or_query(
            config=self.feast.config,
            data_source=source,
            join_key_columns=[s.USER_ID],
            feature_name_columns=[c for c in EVENT_COLUMNS if c != s.USER_ID],
            timestamp_field=s.TIMESTAMP,
            start_date=start,
            end_date=end,
        )
        return job.to_arrow().sort_by([(s.TIMESTAMP, "ascending"), (s.USER_ID, "ascending"), (s.ITEM_ID, "ascending")])

    def users_with(self, view: str, moment: datetime) -> list[str]:
        """The users that have a row in the view's snapshot of `moment`."""
        feature_view = self.feast.get_feature_view(view)
        job = get_provider(self.feast.config).offline_store.pull_all_from_table_or_query(
            config=self.feast.config,
            data_source=feature_view.batch_source,
            join_key_columns=[s.USER_ID],
            feature_name_columns=[],
            timestamp_field=MOMENT,
            start_date=moment,
            end_date=moment,
        )
        users: list[str] = job.to_arrow()[s.USER_ID].to_pylist()
        return users

    def view_at(self, view: str, users: Sequence[str], moment: datetime) -> dict[str, dict[str, Any]]:
        """A view's rows of some users by user, point in time."""
        asked = pd.DataFrame({s.USER_ID: list(users), MOMENT: pd.Timestamp(moment)})
        asked[MOMENT] = asked[MOMENT].astype("datetime64[us, UTC]")
        names = [f"{view}:{name}" for name in discover()[view].fields]
        rows = self.feast.get_historical_features(asked, names).to_arrow().to_pylist()
        return {row[s.USER_ID]: row for row in rows}

    # -- reading, online -----------------------------------------------------------------------------

    def feature_names(self, service: str = USER_SERVICE) -> list[str]:
        """The service's features as `view:feature`, in order; what a bundle remembers."""
        return [
            f"{projection.name}:{feature.name}"
            for projection in self.service(service).feature_view_projections
            for feature in projection.features
        ]

    def online_reader(self, features: Sequence[str]) -> OnlineReader:
        """What reads the named features; made at the first call, which takes ten times as long as a read.

        Raises:
            FeastError: Feast does not know a view, or two of the features have one name.
            UnknownFeatureError: a view has no such feature.
        """
        asked = tuple(features)
        reader = self._readers.get(asked)
        if reader is None:
            reader = self._readers[asked] = OnlineReader(self.feast, asked, self._ttl)
        return reader

    def online_row(self, user: str, features: Sequence[str], now: datetime) -> OnlineRow:
        """The named features, `view:feature`, of one user at this moment.

        Raises:
            OnlineStoreDownError: the store cannot be reached.
            FeastError, UnknownFeatureError: as in `online_reader`.
        """
        return self.online_reader(features).read(self._told(user, now), now)

    async def online_row_async(self, user: str, features: Sequence[str], now: datetime) -> OnlineRow:
        """As `online_row`, without blocking the event loop; Feast must be initialised on that loop."""
        return await self.online_reader(features).read_async(self._told(user, now), now)

    def online_user(self, user: str, features: Sequence[str], now: datetime) -> dict[str, Any]:
        """The values of `online_row`."""
        return self.online_row(user, features, now).values

    @cached_property
    def _readers(self) -> dict[tuple[str, ...], OnlineReader]:
        return {}

    @cached_property
    def _ttl(self) -> dict[str, timedelta]:
        return {name: feature.ttl for name, feature in discover().items() if feature.ttl}

    def _told(self, user: str, now: datetime) -> dict[str, Any]:
        return {s.USER_ID: user, **self.moment_keys(now)}

    def moment_keys(self, now: datetime) -> dict[str, Any]:
        """What a request tells of its moment: the join key of the week's hour, and what `request_time` reads."""
        at = now.timestamp()
        return {HOUR_OF_WEEK: hour_of_week(at), REQUEST_AT: at, HOLIDAYS_IN: self.settings.holidays}

    def online_rows(self, view: str, key: str, ids: Sequence[str]) -> pd.DataFrame:
        """A whole view's online rows for some ids, index the join key."""
        names = [f"{view}:{name}" for name in discover()[view].fields]
        got = self.feast.get_online_features(names, [{key: i} for i in ids]).to_dict()
        return pd.DataFrame(got).set_index(key)
