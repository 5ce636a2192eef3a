"""A user's row in one round trip: exactly what Feast's own read gives, on both stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.errors import FeatureNameCollisionError, FeatureViewNotFoundException
from feast.protos.feast.types.Value_pb2 import DoubleList, Value

from feature_repo import schema as s
from feature_repo.errors import UnknownFeatureError
from feature_repo.features import discover
from feature_repo.online import OnlineRow, ViewRow
from feature_repo.online_values import entity_key
from feature_repo.store import Features
from infra.settings import Settings
from tests.feature_repo.conftest import add_catalogue, add_events, event
from tests.feature_repo.servers import profile

NOW = datetime(2024, 3, 31, 12, 34, 56, 789012, tzinfo=UTC)
DAY = timedelta(days=1)
USERS = ("ann", "bob", "cyd", "nobody", "ünï:cøde")


@pytest.fixture(scope="module", params=["local", "production"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Users with long and short histories, one with a profile alone, all of it online."""
    kinds = ("purchase", "view", "cart", "click", "rating")
    with profile(request.param, tmp_path_factory.mktemp("home")) as config:
        long = [event("ann", "abcd"[n % 4], NOW - n * DAY / 7, kinds[n % 5], price=n / 3) for n in range(300)]
        add_events(config, long)
        add_events(config, [event("bob", "a", NOW - 40 * DAY, price=5.0), event("ünï:cøde", "c", NOW - DAY)])
        add_catalogue(config)
        profiles = [{s.USER_ID: "cyd", "age_group": "35-44", s.TIMESTAMP: NOW - 99 * DAY}]
        pq.write_table(pa.Table.from_pylist(profiles, schema=s.USERS), config.lake / "users.parquet")
        features = Features.open(config)
        features.compute([NOW])
        features.apply()
        features.materialize(NOW)
        yield config


@pytest.fixture
def live(installation: Settings) -> Features:
    """Opened anew for each test, which only reads, or writes a user of its own."""
    return Features.open(installation)


def feasts_own(features: Features, user: str, names: list[str], now: datetime) -> OnlineRow:
    """Feast's read, with values older than their view's ttl taken out."""
    asked = {s.USER_ID: user, **features.moment_keys(now)}
    response = features.feast.get_online_features(names, [asked])
    values = {name: of_one for name, [of_one] in response.to_dict().items()}
    moments: dict[str, datetime] = {}
    expired: set[str] = set()
    for name in names:
        view, _, feature = name.partition(":")
        vector = response.proto.results[list(response.proto.metadata.feature_names.val).index(feature)]
        at = vector.event_timestamps[0].ToDatetime(UTC) if vector.event_timestamps else None
        if at and at.timestamp():
            moments[view] = at
            ttl = discover()[view].ttl
            if ttl and at < now - ttl:
                expired.add(view)
                values[feature] = None
    return OnlineRow(
        {name.partition(":")[2]: values[name.partition(":")[2]] for name in names}, moments, frozenset(expired)
    )


def same(ours: OnlineRow, feasts: OnlineRow) -> bool:
    # By their text, in which types count too, and NaN is NaN.
    return repr(ours.values) == repr(feasts.values) and (ours.moments, ours.expired) == (feasts.moments, feasts.expired)


@pytest.mark.parametrize("later", [timedelta(0), 30 * DAY, 30 * DAY + timedelta(microseconds=1), 400 * DAY])
async def test_a_row_is_what_feast_itself_reads(live: Features, later: timedelta) -> None:
    names, now = live.feature_names(), NOW + later
    await live.feast.initialize()
    try:
        for user in USERS:
            expected = feasts_own(live, user, names, now)
            assert same(live.online_row(user, names, now), expected)
            assert same(await live.online_row_async(user, names, now), expected)
        assert live.online_row("ann", names, now).expired == (
            frozenset()
            if later <= 30 * DAY
            else {"user_activity"}
            if later < 90 * DAY
            else {"user_activity", "time_of_week"}
        )
    finally:
        await live.feast.close()


def test_nulls_and_empty_lists_and_odd_moments_are_feasts_too(live: Features) -> None:
    store, feast = live.feast._get_provider().online_store, live.feast
    session = {"session_times": Value(double_list_val=DoubleList()), "session_items": Value()}
    rows = [
        (feast.get_feature_view("session"), [(entity_key(s.USER_ID, "odd"), session, NOW, None)]),
        (feast.get_feature_view("user_activity"), [(entity_key(s.USER_ID, "odd"), {}, s.BEGINNING, None)]),
        (feast.get_feature_view("user_taken"), [(entity_key(s.USER_ID, "odd"), {}, NOW + DAY, None)]),
    ]
    store.write_rows(feast.config, rows)
    names = live.feature_names()
    ours = live.online_row("odd", names, NOW)
    assert same(ours, feasts_own(live, "odd", names, NOW))
    assert ours.values["session_times"] == []
    assert ours.values["session_items"] is None


def test_a_part_of_the_features_is_read_in_the_order_asked(live: Features) -> None:
    names = ["request_time:hour_sin", "session:session_items", "user_activity:spend_7d", "session:session_types"]
    row = live.online_row("ann", names, NOW)
    assert sorted(row.values) == sorted(name.partition(":")[2] for name in names)
    assert row.moments.keys() == {"session", "user_activity"}
    assert live.online_row("ann", ["request_time:hour_sin"], NOW).moments == {}


def test_view_by_view(live: Features) -> None:
    names = ["request_time:hour_sin", "user_activity:spend_7d", "user_profile:age_group"]
    parts = live.online_row("cyd", names, NOW + 31 * DAY).by_view(names)
    assert list(parts) == ["request_time", "user_activity", "user_profile"]
    assert parts["user_activity"] == ViewRow({"spend_7d": None}, None, is_expired=False)
    assert parts["user_profile"] == ViewRow({"age_group": "35-44"}, NOW - 99 * DAY, is_expired=False)
    assert live.online_row("ann", names, NOW + 31 * DAY).by_view(names)["user_activity"] == ViewRow(
        {"spend_7d": None}, NOW, is_expired=True
    )


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["no_such_view:x"], FeatureViewNotFoundException),
        (["session:no_such_feature"], UnknownFeatureError),
        (["request_time:no_such_feature"], UnknownFeatureError),
        (["session:session_items", "session:session_items"], FeatureNameCollisionError),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(live: Features, names: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        live.online_row("ann", names, NOW)


def test_a_view_that_was_applied_anew_is_looked_up_anew(live: Features) -> None:
    before = live.online_reader(["session:session_items"])
    assert live.online_reader(["session:session_items"]) is before
    live.apply()
    assert live.online_reader(["session:session_items"]) is not before
