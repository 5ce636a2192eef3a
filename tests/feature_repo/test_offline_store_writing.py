"""What the offline store writes: saved datasets, files, new rows, logs; and what it brings online."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureService, FeatureStore, Field, RequestSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64

from feature_repo.offline_store.errors import SourceError
from tests.feature_repo.offline_store_project import USER, asked, at, known, open_store, rows_in, source, values, view


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """One view of values, and their sum with a number that the request brings."""
    stored, request = open_store(tmp_path), RequestSource(name="request", schema=[Field(name="plus", dtype=Int64)])
    numbers = view(source(tmp_path, "numbers", known(("a", 1, 1), ("b", 2, 2), ("a", 3, 3))), "value")

    @on_demand_feature_view(sources=[numbers, request], schema=[Field(name="total", dtype=Int64)])
    def sums(inputs: pd.DataFrame) -> pd.DataFrame:
        import pandas

        return pandas.DataFrame({"total": inputs["value"] + inputs["plus"]})

    stored.apply([USER, numbers, sums])
    return stored


def job(store: FeatureStore, *features: str) -> Any:
    return store.get_historical_features(asked(("b", 4), ("a", 2)).assign(plus=[10, 20]), list(features))


@pytest.mark.parametrize("features", [["numbers:value"], ["numbers:value", "sums:total"]])
def test_a_file_holds_what_arrow_holds(store: FeatureStore, tmp_path: Path, features: list[str]) -> None:
    retrieval = job(store, *features)
    retrieval.to_parquet(tmp_path / "new" / "result.parquet")
    assert rows_in(tmp_path / "new" / "result.parquet") == retrieval.to_arrow().to_pylist()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["result.parquet"]


def test_batches_compute_on_demand_views(store: FeatureStore) -> None:
    got = job(store, "sums:total").to_arrow_batches(rows=2048).read_all()
    assert values(got, "total") == [12, 21]


@pytest.mark.parametrize("place", ["saved.parquet", "saved"])
def test_saved_datasets_come_back(store: FeatureStore, tmp_path: Path, place: str) -> None:
    storage = SavedDatasetFileStorage(path=str(tmp_path / place))
    retrieval = job(store, "numbers:value", "sums:total")
    store.create_saved_dataset(retrieval, "training", storage)
    got = store.get_saved_dataset("training").to_df()
    assert list(got["value"]) == [2, 1]
    assert list(got["total"]) == [12, 21]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        retrieval.persist(storage)
    job(store, "numbers:value").persist(storage, allow_overwrite=True)
    assert "total" not in rows_in(tmp_path / place)[0]


def test_a_folder_with_other_things_is_not_replaced(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds other things than Parquet files"):
        job(store, "numbers:value").persist(SavedDatasetFileStorage(path=str(tmp_path)), allow_overwrite=True)


def test_written_rows_are_read(store: FeatureStore, tmp_path: Path) -> None:
    # At the moment of a row that is there: of the two, the one written later counts.
    store.write_to_offline_store("numbers", known(("a", 1, 7), ("c", 1, 8)))
    got = store.get_historical_features(asked(("a", 2), ("c", 2), ("b", 2)), ["numbers:value"]).to_arrow()
    assert values(got) == [7, 8, 2]
    assert len(rows_in(tmp_path / "numbers.parquet")) == 5


def test_rows_of_other_columns_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns"):
        store.write_to_offline_store("numbers", known(("a", 1, 7)).rename(columns={"value": "other"}))
    assert len(rows_in(tmp_path / "numbers.parquet")) == 3


def test_logged_features_add_up(store: FeatureStore, tmp_path: Path) -> None:
    logged = FeatureService(
        name="logged",
        features=[store.get_feature_view("numbers")],
        logging_config=LoggingConfig(destination=FileLoggingDestination(path=str(tmp_path / "log"))),
    )
    store.apply([logged])
    rows = pa.table(
        {
            "user": ["a"],
            "value": pa.array([1], pa.int64()),
            "value__timestamp": pa.array([at(1)], pa.timestamp("us", tz="UTC")),
            "value__status": pa.array([2], pa.int32()),
            "__log_timestamp": pa.array([at(1)], pa.timestamp("us", tz="UTC")),
            "__log_date": pa.array([at(1).date()], pa.date32()),
            "__request_id": ["r1"],
        }
    )
    for _ in range(2):
        store.write_logged_features(rows, logged)
    assert len(rows_in(tmp_path / "log")) == 2


def test_materialisation_brings_the_newest_online(store: FeatureStore) -> None:
    store.materialize(at(0).to_pydatetime(), at(2).to_pydatetime())
    got = store.get_online_features(["numbers:value"], [{"user": "a"}, {"user": "b"}]).to_dict()
    assert got["value"] == [1, 2]
