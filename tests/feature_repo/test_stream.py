"""The stream path gives what the batch gives for the same events and moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from feature_repo.event import Event
from feature_repo.features import discover
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from flows.connectors.complete_journey import CompleteJourney
from infra.settings import Settings
from tests.feature_repo.conftest import FillLake, event

NOW = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)
STREAMED = [feature for feature in discover().values() if feature.streamed]


def test_replayed_real_events_give_the_batch_values(features: Features, fill: FillLake, config: Settings) -> None:
    connector = CompleteJourney(households=4)
    catalogue = connector.items().select([s.ITEM_ID, s.NAME, s.CATEGORY]).to_pylist()
    since = datetime(2017, 1, 1, tzinfo=UTC)
    config.lake.mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([row | {s.TIMESTAMP: since} for row in catalogue], schema=s.ITEMS),
        config.lake / "items.parquet",
    )
    rows = pd.concat(chunk.rows.to_pandas() for chunk in connector.chunks(100_000))
    rows = rows.sort_values("timestamp")
    columns = ["event_id", "user_id", "item_id", "timestamp", "quantity", "price", "value"]
    records = rows[columns].astype(object).where(rows[columns].notna(), None).to_dict("records")
    events = [
        Event(
            event_type="purchase", **r | {"timestamp": pd.Timestamp(r["timestamp"]).tz_convert("UTC").to_pydatetime()}
        )
        for r in records
    ]
    known, arriving = events[:-60], events[-60:]
    fill(known)
    features.compute([features.lake.newest_event()])
    features.apply()
    features.materialize(features.lake.newest_event())
    stream = StreamPath(features)
    for e in arriving:
        assert e.timestamp is not None
        stream.apply([e], e.timestamp)
    users = sorted({e.user_id for e in arriving})
    online = {f.name: features.online_rows(f.name, "user_id", users) for f in STREAMED}

    fill(arriving)
    newest = {user: max(e.timestamp for e in arriving if e.user_id == user and e.timestamp) for user in users}
    features.compute(sorted(set(newest.values())))
    for feature in STREAMED:
        batch = pd.concat(map(pd.read_parquet, (features.settings.features / feature.name).glob("*.parquet")))
        for user, moment in newest.items():
            if not feature.trained_on and moment != max(newest.values()):
                continue
            [expected] = batch[(batch.user_id == user) & (batch.event_timestamp == moment)].to_dict("records")
            for column in feature.fields:
                got, wanted = online[feature.name].loc[user, column], expected[column]
                if isinstance(got, list):
                    assert len(got) == len(wanted), (feature.name, column, user)
                    pd.testing.assert_series_equal(
                        pd.Series(got), pd.Series(list(wanted)), rtol=1e-9, check_dtype=False
                    )
                else:
                    assert got == pytest.approx(wanted, rel=1e-9, nan_ok=True), (feature.name, column, user)


@pytest.fixture
def stream(features: Features, fill: FillLake, catalogue: None) -> StreamPath:
    fill([event("u", "a", NOW - DAY, price=2.0, quantity=2)])
    features.compute([NOW])
    features.apply()
    features.materialize(NOW)
    return StreamPath(features)


def session_of(features: Features, user: str) -> list[str]:
    return list(features.online_rows("session", "user_id", [user]).loc[user, "session_items"])


def test_an_event_joins_the_session_at_once(stream: StreamPath, features: Features) -> None:
    stream.apply([Event(user_id="u", item_id="c", event_type="cart")], NOW + DAY)
    assert session_of(features, "u") == ["a", "c"]
    affinity = features.online_rows("user_affinity", "user_id", ["u"]).loc["u"]
    assert affinity.categories == ["fruit", "fish"]


def test_the_same_event_again_changes_nothing(stream: StreamPath, features: Features) -> None:
    at = NOW + timedelta(microseconds=123_456)
    again = event("u", "c", at, kind="view")
    for _ in range(3):
        stream.apply([again], at)
    assert session_of(features, "u") == ["a", "c"]
    [newest] = features.online_rows("history", "user_id", ["u"])["history_times"]
    assert newest[-1] == at.timestamp() * 1e6


def test_two_events_that_look_alike_are_two(stream: StreamPath, features: Features) -> None:
    for name in ("first", "second"):
        twin = Event(event_id=name, user_id="u", item_id="c", event_type="view", timestamp=NOW)
        stream.apply([twin], NOW)
    assert session_of(features, "u") == ["a", "c", "c"]


def test_a_purchase_without_value_is_worth_price_times_quantity(stream: StreamPath, features: Features) -> None:
    stream.apply([event("u", "c", NOW, price=2.5, quantity=3)], NOW)
    assert features.online_rows("user_activity", "user_id", ["u"]).loc["u", "spend_7d"] == 4.0 + 7.5


def test_hours_are_utc_wherever_it_runs(
    stream: StreamPath, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    cursors = StreamPath(features)._cursors.values()
    zones = {cursor.execute("SELECT current_setting('TimeZone')").fetchall()[0] for cursor in cursors}
    monkeypatch.undo()
    time.tzset()
    assert zones == {("UTC",)}


def test_a_late_event_takes_its_place(stream: StreamPath, features: Features) -> None:
    stream.apply([event("u", "c", NOW, kind="view")], NOW)
    stream.apply([event("u", "b", NOW - 2 * DAY, kind="view")], NOW)
    assert session_of(features, "u") == ["b", "a", "c"]


def test_a_new_user_is_known_after_the_first_event(stream: StreamPath, features: Features) -> None:
    stream.apply([Event(user_id="new", item_id="a", event_type="view")], NOW)
    assert session_of(features, "new") == ["a"]


def test_impressions_change_nothing(stream: StreamPath, features: Features) -> None:
    stream.apply([Event(user_id="u", item_id="c", event_type="impression")], NOW)
    assert session_of(features, "u") == ["a"]


def test_several_users_in_one_batch(stream: StreamPath, features: Features) -> None:
    stream.apply([event("u", "c", NOW, kind="view"), event("new", "b", NOW, kind="cart")], NOW)
    assert session_of(features, "u") == ["a", "c"]
    assert session_of(features, "new") == ["b"]
