"""The stream path: what an arriving event does to the online store. That it gives the batch's values: `test_parity`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_repo import schema as s
from feature_repo.errors import OnlineStoreDownError
from feature_repo.event import Event
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.edited import counting, feature_folder

NOW = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)


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


def test_events_of_a_late_file_join_rows_that_are_newer(stream: StreamPath, features: Features, fill: FillLake) -> None:
    stream.apply([event("u", "c", NOW + DAY, kind="view")], NOW + DAY)
    fill([event("u", "b", NOW - DAY / 2, kind="view")])
    features.compute([NOW])
    features.materialize(NOW)
    assert session_of(features, "u") == ["a", "c"]  # the newest wins
    assert stream.take_in(NOW) == 1
    assert session_of(features, "u") == ["a", "b", "c"]
    assert stream.take_in(NOW) == 0


def test_a_clock_that_runs_backwards_stands_still(stream: StreamPath, features: Features) -> None:
    stream.apply([Event(user_id="u", item_id="c", event_type="view")], NOW + DAY)
    stream.apply([Event(user_id="u", item_id="b", event_type="view")], NOW)
    assert session_of(features, "u") == ["a", "b", "c"]


def test_two_processes_see_each_others_events(stream: StreamPath, features: Features) -> None:
    other = StreamPath(features)
    stream.apply([event("u", "b", NOW + DAY, kind="view")], NOW + DAY)
    other.apply([event("u", "c", NOW + 2 * DAY, kind="view")], NOW + 2 * DAY)
    stream.apply([event("u", "d", NOW + 3 * DAY, kind="view")], NOW + 3 * DAY)
    assert session_of(features, "u") == ["a", "b", "c", "d"]


def test_a_write_that_others_always_overtake_is_told(stream: StreamPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamPath, "_write", lambda self, histories: False)
    with pytest.raises(OnlineStoreDownError, match="written by others"):
        stream.apply([event("u", "b", NOW)], NOW)


def test_the_history_keeps_the_newest_events(
    stream: StreamPath, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s, "HISTORY_EVENTS", 3)
    for day, item in enumerate("bcd"):
        stream.apply([event("u", item, NOW + day * DAY, kind="view")], NOW + day * DAY)
    assert features.online_rows("history", "user_id", ["u"]).loc["u", "history_items"] == ["b", "c", "d"]


def test_a_full_history_that_another_process_changed_is_read_again(
    stream: StreamPath, features: Features, fill: FillLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s, "HISTORY_EVENTS", 3)
    for hours, item in ((1, "b"), (2, "c"), (24, "d")):
        at = NOW + timedelta(hours=hours)
        stream.apply([event("u", item, at, kind="view")], at)
    late = NOW + timedelta(hours=3)
    fill([event("u", "e", late, kind="view")])
    features.compute([NOW + DAY / 2])
    assert StreamPath(features).take_in(NOW + DAY / 2) == 1
    stream.apply([event("u", "f", NOW + 2 * DAY, kind="view")], NOW + 2 * DAY)
    assert features.online_rows("history", "user_id", ["u"]).loc["u", "history_items"] == ["e", "d", "f"]


def test_a_value_that_no_field_holds_is_told_with_its_field(
    stream: StreamPath, features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = feature_folder(tmp_path / "features", monkeypatch, beside_ours=True)
    ours.write(
        "kinds",
        counting("kinds", "kinds=Array(String)", "kinds=__import__('ibis').array([history.category.max(), None])"),
    )
    features.apply()
    with pytest.raises(ValueError, match=r"feature kinds: a value is not of the type .*Lists hold no nulls"):
        StreamPath(features).apply([event("u", "b", NOW, kind="view")], NOW)
