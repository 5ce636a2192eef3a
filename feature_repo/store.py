"""Feast, as Kairos uses it: apply, materialise, point-in-time frames, online rows. The only door to the features."""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml
from feast import FeatureStore, FeatureView, FileSource
from feast.errors import FeatureServiceNotFoundException
from feast.infra.provider import get_provider
from feast.repo_config import RepoConfig

from feature_repo import schema as s
from feature_repo import snapshots
from feature_repo.definitions import ITEM_SERVICE, USER_SERVICE, definitions
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.errors import NotMaterializedError, RowsLostError
from feature_repo.feature import HOUR_OF_WEEK, MOMENT
from feature_repo.features import discover
from feature_repo.lake import Lake
from infra.settings import Settings

REQUEST_AT = "request_at"
EVENT_COLUMNS = (s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, s.QUANTITY, s.PRICE, s.VALUE)

# Feast logs every view that it materialises, and it and Ibis warn about what Kairos does on purpose.
logging.getLogger("feast").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)


def hour_of_week(at: float) -> int:
    """Hour of the week of an epoch second; 0 is Monday 00:00 UTC."""
    return int((at - 345_600.0) % 604_800.0 // 3_600.0)


def open_feast(settings: Settings) -> FeatureStore:
    """Feast on the backends that the settings name."""
    settings.feast.mkdir(parents=True, exist_ok=True)
    if settings.online_store == "redis":
        online: dict[str, Any] = {"type": "redis", "connection_string": settings.redis_url}
    else:
        online = {"type": "sqlite", "path": str(settings.feast / "online.db")}
        with closing(sqlite3.connect(online["path"])) as database:
            # Kept by the file: requests read on while a materialisation writes, and a commit is one write.
            database.execute("PRAGMA journal_mode=WAL")
    # thread: the registry is refreshed beside the requests, never within one.
    registry: dict[str, Any] = {
        "path": settings.registry or str(settings.feast / "registry.db"),
        "cache_ttl_seconds": 60,
        "cache_mode": "thread",
    }
    if settings.registry and "://" in settings.registry:
        registry["registry_type"] = "sql"
    config = {
        "project": settings.project,
        "provider": "local",
        "registry": registry,
        "online_store": online,
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3,
    }
    # Lets the `feast` command line look at the same store: feast -f .kairos/feast/feature_store.yaml ...
    (settings.feast / "feature_store.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return FeatureStore(config=RepoConfig(**config, repo_path=settings.feast))


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

    def compute(self, moments: Sequence[datetime]) -> dict[str, int]:
        """Write the features' snapshots as of `moments`; those already written are kept.

        Returns:
            New rows per feature.
        """
        return snapshots.compute(
            DuckDBEngine(self.lake), self.lake, discover().values(), moments, self.settings.features
        )

    def apply(self) -> list[str]:
        """Register entities, views and services with Feast; idempotent.

        Returns:
            The views' names.
        """
        objects = definitions(self.settings.features)
        self.feast.apply(objects)
        self.feast.refresh_registry()
        return [o.name for o in objects if isinstance(o, FeatureView)]

    def materialize(self, until: datetime) -> None:
        """Bring the newest row of every entity, as of `until`, into the online store."""
        # From the beginning: an entity silent for long still has its newest row.
        with redirect_stdout(StringIO()):  # Feast prints a heading per view
            self.feast.materialize(start_date=s.BEGINNING, end_date=until + timedelta(microseconds=1))

    def push(self, view: str, rows: pa.Table) -> None:
        """Write rows of a view, with join key and `event_timestamp`, to the online store now."""
        self.feast.write_to_online_store(view, rows.to_pandas())

    # -- reading, point in time ----------------------------------------------------------------------

    def users_at(self, users: Iterable[str], moment: datetime) -> pd.DataFrame:
        """What was known of each user at `moment`: one row per user, in the order given, index `user_id`.

        Raises:
            RowsLostError: the store returned other rows than asked for.
        """
        ids = list(users)
        at = moment.timestamp()
        asked = pd.DataFrame(
            {s.USER_ID: ids, HOUR_OF_WEEK: hour_of_week(at), REQUEST_AT: at, MOMENT: pd.Timestamp(moment)}
        )
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
        got = self.feast.get_historical_features(asked, self._service(service)).to_df()
        if len(got) != len(asked):
            raise RowsLostError(f"asked Feast for {len(asked)} rows of {service} and got {len(got)}")
        return got.set_index(key).loc[asked[key]]

    def _service(self, name: str) -> Any:
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

    # -- reading, online -----------------------------------------------------------------------------

    def feature_names(self, service: str = USER_SERVICE) -> list[str]:
        """The service's features as `view:feature`, in order; what a bundle remembers."""
        return [
            f"{projection.name}:{feature.name}"
            for projection in self._service(service).feature_view_projections
            for feature in projection.features
        ]

    def online_user(self, user: str, features: Sequence[str], now: datetime) -> dict[str, Any]:
        """The named features of one user at this moment; None for what the store does not know."""
        at = now.timestamp()
        rows = [{s.USER_ID: user, HOUR_OF_WEEK: hour_of_week(at), REQUEST_AT: at}]
        return _first(self.feast.get_online_features(list(features), rows).to_dict())

    async def online_user_async(self, user: str, features: Sequence[str], now: datetime) -> dict[str, Any]:
        """As `online_user`, without blocking the event loop; Feast must be initialised on that loop."""
        at = now.timestamp()
        rows = [{s.USER_ID: user, HOUR_OF_WEEK: hour_of_week(at), REQUEST_AT: at}]
        return _first((await self.feast.get_online_features_async(list(features), rows)).to_dict())

    def online_rows(self, view: str, key: str, ids: Sequence[str]) -> pd.DataFrame:
        """A whole view's online rows for some ids, index the join key."""
        names = [f"{view}:{name}" for name in discover()[view].fields]
        got = self.feast.get_online_features(names, [{key: i} for i in ids]).to_dict()
        return pd.DataFrame(got).set_index(key)


def _first(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {name: values[0] for name, values in columns.items()}
