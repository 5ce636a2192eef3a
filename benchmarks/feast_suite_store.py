"""What Feast's universal tests ask a store for; imported by them, as `benchmarks.feast_suite` tells them to."""

from __future__ import annotations

from tests.universal.feature_repos.universal.data_sources.file import FileDataSourceCreator

from feature_repo.offline_store import AsOfOfflineStoreConfig


class AsOfDataSourceCreator(FileDataSourceCreator):
    """Feast's Parquet files, read by our store."""

    def create_offline_store_config(self) -> AsOfOfflineStoreConfig:
        return AsOfOfflineStoreConfig()


AVAILABLE_OFFLINE_STORES = [("local", AsOfDataSourceCreator)]
AVAILABLE_ONLINE_STORES = {"sqlite": ({"type": "sqlite"}, None)}
