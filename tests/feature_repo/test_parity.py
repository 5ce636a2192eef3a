"""Online equals offline: replayed real events, events out of order, logged requests; and a difference is found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from redis import Redis

from feature_repo import schema as s
from feature_repo import snapshots
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.errors import NoRequestsError, ReplayTooLongError
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, INGEST_CONSUMER, open_event_log
from feature_repo.feature import MOMENT
from feature_repo.features import discover
from feature_repo.parity.offline import PointInTime
from feature_repo.parity.online import OnlineRows
from feature_repo.parity.replay import replay
from feature_repo.parity.requests import LATE, WAITING, check_requests
from feature_repo.parity.values import same
from feature_repo.request_log import LoggedRequest, RequestLog
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from flows.connectors.complete_journey import CompleteJourney
from infra.settings import Settings
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.servers import REDIS_URL, production

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STREAMED = [feature for feature in discover().values() if feature.streamed]
NAN = float("nan")


def as_lake(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema
    ]
    return pa.table(columns, schema=schema)


def rows_in(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(file) for file in folder.glob("*.parquet"))


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three real households; every fifth of their items is missing from the catalogue."""
    config = Settings(home=tmp_path_factory.mktemp("journey"))
    connector = CompleteJourney(households=3)
    (config.lake / "events").mkdir(parents=True)
    events = pa.concat_tables(as_lake(chunk.rows, s.EVENTS) for chunk in connector.chunks(100_000))
    pq.write_table(events, config.lake / "events" / "0.parquet")
    items = connector.items()
    items = items.filter(pc.is_in(items[s.ITEM_ID], events[s.ITEM_ID]))
    items = items.take([row for row in range(len(items)) if row % 5])
    pq.write_table(as_lake(items, s.ITEMS), config.lake / "items.parquet")
    pq.write_table(as_lake(connector.users(), s.USERS), config.lake / "users.parquet")
    return config


@pytest.fixture
def shop(fill: FillLake, catalogue: None) -> list[Event]:
    """Two users over ten days; an item without category, a purchase without value, an impression."""
    events = [
        event(user, item, NOW - DAY * (10 - n) + HOUR * (user == "bob"), kind=kind, price=n + 0.1, quantity=2)
        for user in ("ann", "bob")
        for n, (item, kind) in enumerate(
            [("a", "view"), ("a", "purchase"), ("c", "cart"), ("d", "purchase"), ("b", "impression"), ("b", "rating")]
        )
    ]
    fill(events)
    return events


def test_replayed_real_events_give_the_point_in_time_values(journey: Settings) -> None:
    report = replay(journey, 500)
    assert report.first == []
    assert report.differences == 0
    assert report.events >= 500
    every = {f"{feature.name}:{name}" for feature in discover().values() for name in feature.fields}
    assert every <= report.values.keys()
    assert min(report.values[column] for column in every) > 0


def test_late_and_repeated_events_end_in_the_same_values(journey: Settings) -> None:
    report = replay(journey, 100, out_of_order=True)
    assert report.first == []
    assert report.events > 100
    assert report.values["session:session_items"] > 0


def test_some_users_alone(journey: Settings) -> None:
    assert replay(journey, 30, users=1).values["user_profile:age_group"] == 2  # at the cut and at the end


def test_the_installation_is_not_touched(shop: list[Event], config: Settings) -> None:
    before = sorted(config.home.rglob("*"))
    assert replay(config, 4).differences == 0
    assert [path for path in sorted(config.home.rglob("*")) if path.name != "users.parquet"] == before


def test_nothing_stays_in_redis(shop: list[Event], config: Settings, tmp_path: Path) -> None:
    with production(tmp_path / "unused") as settings, closing(Redis.from_url(REDIS_URL)) as redis:
        # By name, as other tests write to the same Redis meanwhile.
        assert replay(settings.model_copy(update={"home": config.home}), 4).differences == 0
        assert not list(redis.scan_iter(f"*{settings.project}*"))


def test_a_stream_that_loses_events_is_found(
    shop: list[Event], config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = StreamPath.apply

    def forgetful(stream: StreamPath, events: Sequence[Event], now: datetime) -> None:
        apply(stream, [e for e in events if e.event_type != s.RATING], now)

    monkeypatch.setattr(StreamPath, "apply", forgetful)
    report = replay(config, 4)
    assert {"session:session_items", "user_activity:last_rating_at", "history:history_ids"} <= report.differing.keys()
    assert not [column for column in report.differing if column.startswith("item_")]
    assert report.differences == report.differing.total() >= len(report.first) > 0


@pytest.mark.parametrize("events", [10, 11, 1_000])
def test_a_replay_needs_events_before_it(shop: list[Event], config: Settings, events: int) -> None:
    with pytest.raises(ReplayTooLongError, match="ask for fewer --events"):
        replay(config, events)


def test_pairs_have_the_rows_of_the_batch(shop: list[Event], features: Features, tmp_path: Path) -> None:
    """What is cut for some users at a moment is what the batch engine cuts for all of them."""
    snapshots.compute(DuckDBEngine(features.lake), features.lake, STREAMED, [NOW], tmp_path / "batch")
    PointInTime(features.lake, features).write_pairs(STREAMED, [("ann", NOW), ("bob", NOW), ("ann", NOW - 8 * DAY)])
    for feature in STREAMED:
        batch = rows_in(tmp_path / "batch" / feature.name)
        pairs = rows_in(features.settings.features / feature.name).select(batch.column_names)
        of_now = pairs.filter(pc.equal(pairs[MOMENT], pa.scalar(NOW)))
        rows = (table.sort_by(s.USER_ID).to_pylist() for table in (of_now, batch))
        for row, expected in zip(*rows, strict=True):
            assert all(same(row[name], expected[name]) for name in batch.column_names), feature.name


@pytest.mark.parametrize(
    ("online", "offline", "expected"),
    [
        (1.0, 1.0 + 1e-10, True),
        (1.0, 1.0 + 1e-8, False),
        (0.0, 1e-12, False),
        (None, NAN, True),
        (None, 0.0, False),
        (None, [], False),
        ([], [], True),
        ("a", "a", True),
        ("a", "b", False),
        (["a", "b"], ["b", "a"], False),
        (["a"], ["a", "b"], False),
        ([1.0, NAN], [1.0 + 1e-10, NAN], True),
        ([1.0, NAN], [1.0, 2.0], False),
        ([1.0, 2.0], [2.0, 1.0], False),
    ],
)
def test_when_values_are_the_same(online: Any, offline: Any, expected: bool) -> None:
    assert same(online, offline) is expected


# -- logged requests ---------------------------------------------------------------------------------


@pytest.fixture
def live(shop: list[Event], features: Features) -> Features:
    features.compute([NOW - 5 * DAY])
    features.apply()
    features.materialize(NOW - 5 * DAY)
    return features


def ask(features: Features, user: str, at: datetime, applied: int = 0) -> LoggedRequest:
    """A request as the service logs it."""
    views = [feature for feature in discover().values() if feature.entity.join_key == s.USER_ID]
    rows = OnlineRows(features).read(views, [user], at)
    values = {f"{row.feature.name}:{name}": value for row in rows for name, value in row.values.items()}
    moments = {row.feature.name: row.moment for row in rows if row.moment}
    return LoggedRequest("0" * 32, user, at, "m:1", applied, values, moments)


def logged(config: Settings, *requests: LoggedRequest) -> None:
    with closing(RequestLog.of(config)) as log:
        log.append(requests)


def test_logged_requests_equal_the_lake(live: Features, fill: FillLake) -> None:
    stream, requests = StreamPath(live), []
    for n in range(3):
        new = event("ann", "b", NOW + n * HOUR, kind="view")
        stream.apply([new], NOW + n * HOUR)
        fill([new])
        requests.append(ask(live, "ann", NOW + n * HOUR + timedelta(minutes=5)))
    logged(live.settings, *requests, ask(live, "bob", NOW), ask(live, "nobody", NOW))
    report = check_requests(live.settings, 100)
    # bob's row was materialised five days ago, and is true for then.
    assert report.first == []
    assert (report.events, report.values["user_items:own_items"]) == (5, 5)


def test_a_request_with_another_value_is_found(live: Features) -> None:
    request = ask(live, "ann", NOW)
    logged(live.settings, replace(request, values={**request.values, "user_activity:spend_30d": 1e6}))
    report = check_requests(live.settings, 100)
    [difference] = report.first
    assert (difference.key, difference.column, difference.online) == ("ann", "user_activity:spend_30d", 1e6)


def test_what_a_request_could_not_know_is_left_out(live: Features, fill: FillLake) -> None:
    with closing(open_event_log(live.settings)) as log:
        first = event("ann", "b", NOW, kind="view")
        log.append([first])
        StreamPath(live).apply([first], NOW)
        logged(live.settings, ask(live, "ann", NOW, applied=1))
        assert set(check_requests(live.settings, 100).left_out) == {WAITING}
        fill([first])
        log.mark(INGEST_CONSUMER, 1, since=log.place(INGEST_CONSUMER))
        assert not check_requests(live.settings, 100).left_out
        late = event("ann", "c", NOW - DAY, kind="view")
        log.append([late])
        fill([late])
        log.mark(INGEST_CONSUMER, 2, since=log.place(INGEST_CONSUMER))
        log.mark(FEATURES_CONSUMER, 2, since=log.place(FEATURES_CONSUMER))
        report = check_requests(live.settings, 100)
        assert set(report.left_out) == {LATE}
        assert report.differences == 0


def test_without_logged_requests_it_says_what_to_do(live: Features) -> None:
    with pytest.raises(NoRequestsError, match="KAIROS_REQUEST_LOG_SHARE"):
        check_requests(live.settings, 100)
