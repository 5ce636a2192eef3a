"""A Feast offline store that joins as-of. For any Feast project; it knows nothing of the rest of Kairos."""

from feature_repo.offline_store.store import AsOfOfflineStore, AsOfOfflineStoreConfig

__all__ = ["AsOfOfflineStore", "AsOfOfflineStoreConfig"]
