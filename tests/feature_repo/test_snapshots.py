"""Snapshots: what is up to date is left alone, what is not is computed anew, nothing is half-written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feature_repo.errors import EmptyLakeError
from feature_repo.store import Features
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.edited import counting, feature_folder

NOW = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)


def test_an_empty_lake_says_what_to_do(features: Features) -> None:
    with pytest.raises(EmptyLakeError, match="kairos ingest"):
        features.compute([NOW])


def test_a_second_run_writes_nothing(features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - DAY)])
    assert features.compute([NOW])["user_activity"] == 1
    assert set(features.compute([NOW]).values()) == {0}


def test_late_events_are_taken_in(features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - DAY)])
    features.compute([NOW])
    fill([event("u", "b", NOW - 2 * DAY)])
    features.compute([NOW])
    features.apply()
    assert features.users_at(["u"], NOW).loc["u"].events_7d == 2
    assert len(list((features.settings.features / "user_activity").glob("*.parquet"))) == 1


def test_a_snapshot_killed_before_its_manifest_is_computed_again(features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - DAY)])
    features.compute([NOW])
    for manifest in (features.settings.features / "session").glob("*.json"):
        manifest.unlink()
    assert features.compute([NOW])["session"] == 1


def test_newer_events_leave_older_snapshots_alone(features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - DAY)])
    features.compute([NOW])
    fill([event("u", "b", NOW + DAY)])
    assert features.compute([NOW, NOW + DAY])["user_activity"] == 1


def test_point_in_time_rows_see_only_their_past(features: Features, fill: FillLake) -> None:
    fill([event("u", "a", NOW - 5 * DAY), event("u", "b", NOW - DAY)])
    features.compute([NOW - 2 * DAY, NOW])
    features.apply()
    assert features.users_at(["u"], NOW).loc["u"].events_7d == 2
    assert features.users_at(["u"], NOW - DAY / 24).loc["u"].events_7d == 1  # the snapshot before the purchase
    before = features.users_at(["u"], NOW - 4 * DAY).loc["u"]
    assert before.events_7d != before.events_7d  # nothing was known then


def test_events_come_back_through_feast_oldest_first(features: Features, fill: FillLake) -> None:
    fill([event("u", "b", NOW), event("u", "a", NOW - DAY)])
    assert features.events()["item_id"].to_pylist() == ["a", "b"]
    assert features.events(end=NOW - DAY)["item_id"].to_pylist() == ["a"]


def test_two_definitions_never_lie_side_by_side(
    features: Features, fill: FillLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not while the new one is being computed: a reader may look at any time, and a run may be killed."""
    ours = feature_folder(tmp_path / "features", monkeypatch, beside_ours=False)
    ours.write("visits", counting("visits", "n=Float64"))
    fill([event("u", "a", NOW - 5 * DAY)])
    moments = [NOW - 2 * DAY, NOW - DAY, NOW]
    features.compute(moments)
    ours.write("visits", counting("visits", "m=Float64", "m=history.count().cast('float64')"))
    seen = []

    def look(*_: object) -> None:
        files = (features.settings.features / "visits").glob("*.parquet")
        seen.append([pq.read_schema(file).names[-1] for file in files])

    features.compute(moments, progress=look)
    assert seen == [["m"], ["m"] * 2, ["m"] * 3]
