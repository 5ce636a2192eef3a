"""Our point-in-time joins against those of Feast's `duckdb` store, on random data.

Kept out, as Feast leaves them to chance or fails on them: ties that no created timestamp breaks, nanoseconds,
join key maps that name only some of a view's keys, the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.repo_config import RepoConfig
from feast.types import Array, Float64, Int64, String
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = st.integers(0, 30)
ROW = "row"
"""Tells the rows of a result apart."""

slow: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),  # Feast takes a second for an example: no shrinking
}

users = st.sampled_from(["a", "b", "c", None])
shops = st.sampled_from([1, 2, None])
values = st.one_of(st.none(), st.integers(-3, 3))

user_rows = st.lists(
    st.fixed_dictionaries(
        {
            "user": users,
            "event_timestamp": HOURS,
            "created": st.one_of(st.none(), st.integers(0, 40)),
            "source_value": values,
            "tags": st.one_of(st.none(), st.lists(st.sampled_from("xyz"), max_size=2)),
        }
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda row: (row["user"], row["event_timestamp"], row["created"]),
)
visit_rows = st.lists(
    st.fixed_dictionaries({"user": users, "shop": shops, "event_timestamp": HOURS, "visits": values}),
    min_size=1,
    max_size=25,
    unique_by=lambda row: (row["user"], row["shop"], row["event_timestamp"]),
)
day_rows = st.lists(
    st.fixed_dictionaries({"event_timestamp": HOURS, "traffic": values}),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row["event_timestamp"],
)
asked_rows = st.lists(
    st.fixed_dictionaries({"user": users, "friend": users, "shop": shops, "event_timestamp": st.none() | HOURS}),
    min_size=1,
    max_size=20,
).filter(lambda rows: any(row["event_timestamp"] is not None for row in rows))


TYPES = {
    "event_timestamp": pa.timestamp("us", tz="UTC"),
    "created": pa.timestamp("us", tz="UTC"),
    "tags": pa.list_(pa.string()),
    "user": pa.string(),
    "friend": pa.string(),
}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Hours become moments; what is not named in `TYPES` is a whole number, also where all are missing."""

    def value(name: str, given: Any) -> Any:
        hours = name in ("event_timestamp", "created") and given is not None
        return START + timedelta(hours=given) if hours else given

    schema = pa.schema([(name, TYPES.get(name, pa.int64())) for name in rows[0]])
    return pa.Table.from_pylist([{n: value(n, v) for n, v in row.items()} for row in rows], schema=schema)


def write(folder: Path, tables: Mapping[str, list[dict[str, Any]]]) -> None:
    for name, rows in tables.items():
        pq.write_table(table(rows), folder / f"{name}.parquet")


EMPTY = {
    "users": [{"user": "a", "event_timestamp": 0, "created": 0, "source_value": 1, "tags": ["x"]}],
    "visits": [{"user": "a", "shop": 1, "event_timestamp": 0, "visits": 1}],
    "days": [{"event_timestamp": 0, "traffic": 1}],
}


def project(folder: Path) -> list[Any]:
    """Views with and without ttl, created timestamp, field mapping, several keys, no key, and an on-demand view."""
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
    shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
    users_source = FileSource(
        name="users",
        path=str(folder / "users.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        field_mapping={"source_value": "value"},
    )
    visits = FileSource(name="visits", path=str(folder / "visits.parquet"), timestamp_field="event_timestamp")
    days = FileSource(name="days", path=str(folder / "days.parquet"), timestamp_field="event_timestamp")
    schema = [Field(name="value", dtype=Int64), Field(name="tags", dtype=Array(String))]
    views = [
        FeatureView(name="users", entities=[user], schema=schema, source=users_source, ttl=None),
        FeatureView(name="users_5h", entities=[user], schema=schema, source=users_source, ttl=timedelta(hours=5)),
        FeatureView(
            name="visits",
            entities=[user, shop],
            schema=[Field(name="visits", dtype=Int64)],
            source=visits,
            ttl=timedelta(hours=12),
        ),
        FeatureView(
            name="days", entities=[], schema=[Field(name="traffic", dtype=Int64)], source=days, ttl=timedelta(0)
        ),
    ]
    asked = RequestSource(name="asked", schema=[Field(name="row", dtype=Int64)])

    @on_demand_feature_view(sources=[views[2], asked], schema=[Field(name="visits_and_row", dtype=Float64)])
    def sums(inputs: pd.DataFrame) -> pd.DataFrame:
        import pandas

        return pandas.DataFrame({"visits_and_row": inputs["visits"].astype("float64") + inputs["row"]})

    everything = FeatureService(
        name="everything",
        features=[
            views[0].with_name("own"),  # Feast cannot compare a view with its alias in one service
            *views[1:],
            views[0].with_name("friends").with_join_key_map({"user": "friend"}),
            sums,
        ],
    )
    return [user, shop, *views, sums, everything]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feast")


@pytest.fixture(scope="module")
def stores(folder: Path) -> dict[str, FeatureStore]:
    """Two stores on one registry and the same files; the files change from example to example."""
    write(folder, EMPTY)

    def store(offline: str) -> FeatureStore:
        config = RepoConfig(
            project="equal",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": offline},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
        return FeatureStore(config=config)

    found = {"ours": store("feature_repo.offline_store.AsOfOfflineStore"), "feast": store("duckdb")}
    found["ours"].apply(project(folder))
    found["feast"].refresh_registry()
    return found


def plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.tz_convert(UTC).to_pydatetime()
    return None if value is None or value != value else value


def rows_of(store: FeatureStore, asked: pd.DataFrame, features: Any, **how: Any) -> list[dict[str, Any]]:
    got = store.get_historical_features(asked, features, **how).to_arrow()
    rows = [{name: plain(value) for name, value in row.items()} for row in got.to_pylist()]
    return sorted(rows, key=lambda row: row[ROW])


@settings(**slow, max_examples=30)
@given(user_rows, visit_rows, day_rows, asked_rows, st.booleans())
def test_every_row_is_as_in_feast(
    stores: dict[str, FeatureStore],
    folder: Path,
    known: list[dict[str, Any]],
    visits: list[dict[str, Any]],
    days: list[dict[str, Any]],
    asked: list[dict[str, Any]],
    by_then: bool,
) -> None:
    write(folder, {"users": known, "visits": visits, "days": days})
    numbered = [{**row, ROW: number} for number, row in enumerate(asked)]
    entities = table(numbered).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    got, expected = (
        rows_of(
            store,
            entities,
            store.get_feature_service("everything"),
            full_feature_names=True,
            filter_by_created_timestamp=by_then,
        )
        for store in stores.values()
    )
    assert got == expected


@settings(**slow, max_examples=15)
@given(user_rows.filter(lambda rows: all(row["created"] is not None for row in rows)), HOURS, HOURS)
def test_pulls_are_as_in_feast(
    stores: dict[str, FeatureStore], folder: Path, known: list[dict[str, Any]], one: int, other: int
) -> None:
    write(folder, {"users": known})
    start, end = (START + timedelta(hours=hours) for hours in sorted((one, other)))
    for pull in ("pull_latest_from_table_or_query", "pull_all_from_table_or_query"):
        got, expected = (
            getattr(store._get_provider().offline_store, pull)(
                config=store.config,
                data_source=store.get_feature_view("users").batch_source,
                join_key_columns=["user"],
                feature_name_columns=["source_value", "tags"],
                timestamp_field="event_timestamp",
                created_timestamp_column="created",
                start_date=start,
                end_date=end,
            )
            .to_arrow()
            .to_pylist()
            for store in stores.values()
        )
        assert sorted(map(repr, got)) == sorted(map(repr, expected))
