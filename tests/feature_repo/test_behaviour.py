"""What the feature platform does, the same on both profiles: SQLite and a file, Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureView
from feast.feature_view import FeatureViewState
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.definitions import ITEM_SERVICE
from feature_repo.online_store.base import FoundRow, Row, RowsOnlineStore
from feature_repo.store import Features
from infra.settings import Settings
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.servers import production, profile

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
READ = ["user_activity:purchases_7d", "user_activity:spend_7d", "session:session_items", "request_time:hour_sin"]


@pytest.fixture(params=["local", "production"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with profile(request.param, tmp_path / "home") as settings:
        yield settings


@pytest.fixture
def lake(fill: FillLake, catalogue: None) -> None:
    fill(
        [
            event("ann", "a", NOW - 2 * DAY, price=3.0),
            event("ann", "c", NOW - DAY, price=4.0),
            event("bob", "a", NOW - 3 * DAY, price=5.0),
        ]
    )


@pytest.fixture
def live(lake: None, features: Features) -> Features:
    """Features of the lake, online."""
    features.compute([NOW])
    features.apply()
    features.materialize(NOW)
    return features


class Rows:
    """The online store below Feast, for the views of a user."""

    def __init__(self, features: Features) -> None:
        self.store: RowsOnlineStore = features.feast._get_provider().online_store
        self.config = features.feast.config
        self._feast = features.feast

    def view(self, name: str) -> FeatureView:
        return self._feast.get_feature_view(name)

    def write(self, user: str, at: datetime, purchases: float) -> int:
        return self.store.write_rows(self.config, [(self.view("user_activity"), [activity(user, at, purchases)])])

    def read(self, user: str) -> tuple[datetime | None, float | None]:
        [[(at, values)]] = self.store.read_rows(
            self.config, [(self.view("user_activity"), [key(user)], ["purchases_7d"])]
        )
        return at, values["purchases_7d"].double_val if values else None


@pytest.fixture
def rows(features: Features, lake: None) -> Rows:
    """The online store, empty."""
    features.apply()
    return Rows(features)


def key(user: str) -> EntityKey:
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])


def activity(user: str, at: datetime, purchases: float) -> Row:
    return key(user), {"purchases_7d": Value(double_val=purchases)}, at, None


def test_a_user_is_online_after_materialisation(live: Features) -> None:
    row = live.online_user("ann", READ, NOW)
    assert row["purchases_7d"] == 2
    assert row["spend_7d"] == 7.0
    assert row["session_items"] == ["a", "c"]
    assert row["hour_sin"] == pytest.approx(0.0, abs=1e-9)


async def test_reading_without_blocking_gives_the_same(live: Features) -> None:
    await live.feast.initialize()
    try:
        assert await live.online_row_async("ann", READ, NOW) == live.online_row("ann", READ, NOW)
    finally:
        await live.feast.close()


def test_an_unknown_user_has_no_values(live: Features) -> None:
    row = live.online_user("nobody", READ, NOW)
    assert [row[name] for name in ("purchases_7d", "spend_7d", "session_items")] == [None, None, None]


def test_applying_again_changes_nothing(lake: None, features: Features) -> None:
    views, names = features.apply(), features.feature_names()
    assert (features.apply(), features.feature_names()) == (views, names)


def test_features_are_in_the_order_of_their_definition(lake: None, features: Features) -> None:
    features.apply()
    items = features.feature_names(ITEM_SERVICE)
    assert items[0] == "item_catalogue:name"
    assert [name for name in items if "purchases" in name] == [
        f"item_popularity:purchases_{days}d" for days in (7, 30, 90)
    ]


def test_materialising_again_replaces_rows_of_the_same_moment(live: Features) -> None:
    """A value that is computed anew for a moment arrives."""
    rows = Rows(live)
    at, purchases = rows.read("ann")
    assert (at, purchases) == (NOW, 2)
    rows.write("ann", NOW, 99)
    live.materialize(NOW)
    assert rows.read("ann") == (NOW, 2)


def test_a_view_is_served_while_it_is_materialised(live: Features) -> None:
    view = live.feast.get_feature_view("user_activity")
    view.state = FeatureViewState.MATERIALIZING
    live.feast.registry.apply_feature_view(view, live.settings.project, commit=True)
    live.feast.refresh_registry()
    assert live.online_user("ann", READ, NOW)["purchases_7d"] == 2


def test_training_rows_are_those_of_the_moment(lake: None, features: Features) -> None:
    features.compute([NOW - DAY - MICROSECOND, NOW])
    features.apply()
    asked = ["bob", "nobody", "ann"]
    before = features.users_at(asked, NOW - DAY)
    after = features.users_at(asked, NOW)
    assert before.index.tolist() == after.index.tolist() == asked
    assert before["purchases_7d"].fillna(-1).tolist() == [1, -1, 1]
    assert after["purchases_7d"].fillna(-1).tolist() == [1, -1, 2]


def test_of_several_writes_within_a_second_the_newest_stays(rows: Rows) -> None:
    for n in range(5):
        assert rows.write("ann", NOW + n * MICROSECOND, n) == 1
    assert rows.read("ann") == (NOW + 4 * MICROSECOND, 4)


def test_within_one_batch_the_newest_stays_whatever_the_order(rows: Rows) -> None:
    batch = [activity("ann", NOW + n * MICROSECOND, n) for n in (1, 3, 2)]
    assert rows.store.write_rows(rows.config, [(rows.view("user_activity"), batch)]) == 2
    assert rows.read("ann") == (NOW + 3 * MICROSECOND, 3)


@pytest.mark.parametrize("older", [MICROSECOND, timedelta(seconds=1), 3 * DAY, NOW - datetime(1969, 7, 1, tzinfo=UTC)])
def test_an_older_row_does_not_replace_a_newer_one(rows: Rows, older: timedelta) -> None:
    rows.write("ann", NOW, 2)
    assert rows.write("ann", NOW - older, 1) == 0
    assert rows.read("ann") == (NOW, 2)


def test_times_before_1970_are_in_order(rows: Rows) -> None:
    old = datetime(1969, 7, 20, 20, 17, 40, 123456, tzinfo=UTC)
    assert rows.write("ann", old, 1) == 1
    assert rows.write("ann", old - MICROSECOND, 2) == 0
    assert rows.write("ann", old + MICROSECOND, 3) == 1
    assert rows.write("ann", datetime(1970, 1, 1, tzinfo=UTC), 4) == 1
    assert rows.read("ann") == (datetime(1970, 1, 1, tzinfo=UTC), 4)


def test_of_one_moment_the_row_written_last_stays(rows: Rows) -> None:
    rows.write("ann", NOW, 1)
    assert rows.write("ann", NOW, 2) == 1
    assert rows.read("ann") == (NOW, 2)


def test_a_row_is_replaced_whole(rows: Rows) -> None:
    view = rows.view("user_activity")
    both = {"purchases_7d": Value(double_val=1), "spend_7d": Value(double_val=9)}
    rows.store.write_rows(rows.config, [(view, [(key("ann"), both, NOW, None)])])
    rows.write("ann", NOW + DAY, 2)
    [[(_, values)]] = rows.store.read_rows(rows.config, [(view, [key("ann")], ["purchases_7d", "spend_7d"])])
    assert values == {"purchases_7d": Value(double_val=2), "spend_7d": Value()}


def several(rows: Rows) -> tuple[list[Any], list[Any], list[list[FoundRow]]]:
    """Rows of two views to write, what to read, and what should be found."""
    activities, sessions = rows.view("user_activity"), rows.view("session")
    items = Value()
    items.string_list_val.val.extend(["a", "c"])
    batch = [
        (activities, [activity("ann", NOW, 1), activity("bob", NOW + DAY, 2)]),
        (sessions, [(key("ann"), {"session_items": items}, NOW, None)]),
    ]
    wanted = [
        (activities, [key("bob"), key("nobody"), key("ann")], ["purchases_7d"]),
        (sessions, [key("ann"), key("bob")], ["session_items"]),
    ]
    found: list[list[FoundRow]] = [
        [
            (NOW + DAY, {"purchases_7d": Value(double_val=2)}),
            (None, None),
            (NOW, {"purchases_7d": Value(double_val=1)}),
        ],
        [(NOW, {"session_items": items}), (None, None)],
    ]
    return batch, wanted, found


def test_rows_of_several_views_are_written_and_read_together(rows: Rows) -> None:
    batch, wanted, found = several(rows)
    assert rows.store.write_rows(rows.config, batch) == 3
    assert rows.store.read_rows(rows.config, wanted) == found


async def test_the_same_without_blocking(rows: Rows, features: Features) -> None:
    batch, wanted, found = several(rows)
    try:
        assert await rows.store.write_rows_async(rows.config, batch) == 3
        assert await rows.store.read_rows_async(rows.config, wanted) == found
    finally:
        await features.feast.close()


def test_reading_nothing_gives_nothing(rows: Rows) -> None:
    assert rows.store.read_rows(rows.config, [(rows.view("session"), [], None)]) == [[]]
    assert rows.store.write_rows(rows.config, []) == 0


def test_a_column_that_is_new_is_null_in_older_rows(rows: Rows, features: Features) -> None:
    rows.write("ann", NOW, 1)
    view = rows.view("user_activity")
    grown = FeatureView(
        name=view.name,
        entities=[features.feast.get_entity("user")],
        schema=[*view.schema, view.schema[0].__class__(name="brand_new", dtype=view.features[0].dtype)],
        source=view.batch_source,
    )
    features.feast.apply([grown])
    [[(_, values)]] = rows.store.read_rows(rows.config, [(grown, [key("ann")], ["purchases_7d", "brand_new"])])
    assert values == {"purchases_7d": Value(double_val=1), "brand_new": Value()}


def test_a_view_that_is_deleted_takes_its_rows_along(rows: Rows, features: Features) -> None:
    batch, wanted, found = several(rows)
    rows.store.write_rows(rows.config, batch)
    features.feast.apply([], objects_to_delete=[rows.view("user_activity")], partial=False)
    features.apply()
    assert rows.store.read_rows(rows.config, wanted) == [[(None, None)] * 3, found[1]]


def test_definitions_are_the_same_on_both_profiles(tmp_path: Path) -> None:
    def registered(config: Settings) -> tuple[dict[str, Any], list[str], list[str]]:
        features = Features.open(config)
        features.apply()
        views = {view.name: view.to_proto().spec for view in features.feast.list_feature_views()}
        for spec in views.values():
            spec.ClearField("project")
            spec.batch_source.ClearField("meta")  # when it was registered
            spec.batch_source.ClearField("project")
        return views, features.feature_names(), features.feature_names(ITEM_SERVICE)

    local = registered(Settings(home=tmp_path / "home"))
    with production(tmp_path / "home") as config:
        assert registered(config) == local
