"""A small Feast project on our offline store, for its tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Int64

USER = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)


def at(hour: float) -> pd.Timestamp:
    """An hour of the first of January 2024, in UTC."""
    return pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC)) + pd.to_timedelta(hour, unit="h")


def open_store(folder: Path, **limits: Any) -> FeatureStore:
    config = RepoConfig(
        project="asof",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": "feature_repo.offline_store.AsOfOfflineStore", **limits},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def source(folder: Path, name: str, rows: pd.DataFrame, **more: Any) -> FileSource:
    """A Parquet file of the rows, by its path within the repository."""
    rows.to_parquet(folder / f"{name}.parquet", index=False)
    return FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp", **more)


def view(of: FileSource, *features: str, entities: Sequence[Entity] = (USER,), **more: Any) -> FeatureView:
    schema = [Field(name=name, dtype=Int64) for name in features]
    return FeatureView(name=of.name, entities=list(entities), schema=schema, source=of, **more)


def known(*rows: tuple[str, float, int]) -> pd.DataFrame:
    """User, hour and value."""
    return pd.DataFrame([{"user": user, "event_timestamp": at(hour), "value": value} for user, hour, value in rows])


def asked(*rows: tuple[str | None, float]) -> pd.DataFrame:
    """User and hour; nan for no moment at all."""
    return pd.DataFrame([{"user": user, "event_timestamp": at(hour)} for user, hour in rows])


def values(table: Any, name: str = "value") -> list[Any]:
    return list(table.column(name).to_pylist())


def rows_in(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())
