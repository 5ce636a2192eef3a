"""The offline store as Feast knows it. Configuration and store stand in one file: Feast finds one through the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.offline_stores.offline_utils import get_pyarrow_schema_from_batch_source
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import StrictStr

from feature_repo.offline_store import writing
from feature_repo.offline_store.connection import connect
from feature_repo.offline_store.entities import EntityFrame
from feature_repo.offline_store.errors import EntityFrameError, SourceError
from feature_repo.offline_store.history import History
from feature_repo.offline_store.jobs import AsOfRetrievalJob
from feature_repo.offline_store.pull import Pull
from feature_repo.offline_store.sources import parquet_path


class AsOfOfflineStoreConfig(FeastConfigBaseModel):
    """The entry `offline_store` of `feature_store.yaml`."""

    type: StrictStr = "feature_repo.offline_store.AsOfOfflineStore"
    memory_limit: str | None = None
    """Most memory that a job may use, such as `4GB`; what is above it goes to disk. None: DuckDB's 80 % of all."""
    temp_directory: str | None = None
    """Where that goes. None: a folder in the system's temporary one."""
    threads: int | None = None
    """None: every core."""


class AsOfOfflineStore(OfflineStore):
    """Point-in-time joins over Parquet FileSources by DuckDB's as-of join, one view at a time.

    Results are those of Feast's `duckdb` store. Where that one leaves a result to chance, or is mistaken:

    - Rows come in the order of the entity frame, every one of them once, whatever its key or moment.
    - Of rows with the same key, time and created timestamp, the last one in the files counts, files in the order of
      their names. A row without a created timestamp is older than any with one.
    - A join key map may name some of a view's keys; the others keep their names.
    - Times without a zone are UTC. Nanoseconds count.
    - A relative path starts at the feature repository, not at the working directory.
    - A saved dataset has the features of on-demand views too.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: EntityFrame | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **_: Any,
    ) -> AsOfRetrievalJob:
        """Join the views to an entity frame: a pandas frame, an Arrow table, or SQL that DuckDB can run.

        Raises:
            EntityFrameError: there is no entity frame. Retrieval by dates alone is not defined as a join.
        """
        if entity_df is None:
            raise EntityFrameError(
                "no entity frame: give a pandas frame, an Arrow table or SQL; for all rows between two dates, "
                "`SELECT key, event_timestamp FROM 'file.parquet' WHERE ...` is such SQL"
            )
        query = History(
            entity_df, feature_views, feature_refs, full_feature_names, filter_by_created_timestamp, config.repo_path
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return AsOfRetrievalJob(query, _connector(config), config.repo_path, on_demand, full_feature_names)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> AsOfRetrievalJob:
        """The newest row of every key between the dates, both included."""
        span = (timestamp_field, created_timestamp_column or None, start_date, end_date)
        query = Pull(data_source, config.repo_path, join_key_columns, feature_name_columns, *span, latest=True)
        return AsOfRetrievalJob(query, _connector(config), config.repo_path)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> AsOfRetrievalJob:
        """All rows between the dates, both included, in the order of the files."""
        span = (timestamp_field, created_timestamp_column or None, start_date, end_date)
        query = Pull(data_source, config.repo_path, join_key_columns, feature_name_columns, *span, latest=False)
        return AsOfRetrievalJob(query, _connector(config), config.repo_path)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to the Parquet file behind a view. As it is written anew, a folder or a pattern is refused.

        Raises:
            SourceError: it is not one file.
            ValueError: the table's columns are not the file's, in its order.
        """
        source = feature_view.batch_source
        if source is None:
            raise SourceError(f"view {feature_view.name!r} has no batch source to write to")
        path = Path(parquet_path(source, config.repo_path))
        if not path.is_file():
            raise SourceError(f"view {feature_view.name!r}: {path} is not one Parquet file; add a file there instead")
        expected, names = get_pyarrow_schema_from_batch_source(config, source)
        if names != table.column_names:
            raise ValueError(
                f"view {feature_view.name!r}: expected the columns {names}, in this order, and got "
                f"{table.column_names}. The file's schema:\n{expected}"
            )
        with closing(_connector(config)()) as con:
            writing.append(con, table, path)
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add logged features, a table or a folder of Parquet, to the folder of the destination."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise SourceError(f"features are logged to {type(destination).__name__}: use a FileLoggingDestination")
        folder = FileSource.get_uri_for_file_path(config.repo_path, destination.path)
        writing.log(data, Path(folder), destination.partition_by)


def _connector(config: RepoConfig) -> Callable[[], duckdb.DuckDBPyConnection]:
    own = config.offline_store
    return partial(connect, own.memory_limit, own.temp_directory, own.threads)
