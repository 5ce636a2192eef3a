"""Somebody's own files, all the way: what the tables say is there online, and nothing peeks over the cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_repo.store import Features
from flows.connectors import connector
from flows.features import data_timeline
from flows.frames import catch_up, states_at
from flows.ingest import ingest
from flows.timeline import just_before
from infra.settings import Settings

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    """Twenty users who do something on every day of a hundred, told by the date alone."""
    days = [f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in range(100, 0, -1)]
    rows = [f"u{u},i{(n + u) % 30},purchase,{day}" for n, day in enumerate(days) for u in range(20)]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,behavior,timestamp", *rows]))
    (tmp_path / "items.csv").write_text(
        "item_id,name,category\n" + "\n".join(f"i{n},Item {n},c{n % 3}" for n in range(30))
    )
    (tmp_path / "users.csv").write_text("user_id,gender\n" + "\n".join(f"u{n},f" for n in range(20)))
    config = Settings(home=tmp_path / "home", training_cuts=2)
    files = connector("csv", path=tmp_path / "events.csv", items=tmp_path / "items.csv", users=tmp_path / "users.csv")
    ingest(files, config, now=NOW, progress=False)
    return config


def test_tables_without_a_time_are_online_and_in_the_past(config: Settings) -> None:
    features, cuts = Features.open(config), data_timeline(config)
    catch_up(features, cuts.moments)
    features.materialize(cuts.newest)
    item = features.online_rows("item_catalogue", "item_id", ["i7"]).loc["i7"]
    assert (item["name"], item.category) == ("Item 7", "c1")
    assert features.online_rows("user_profile", "user_id", ["u3"]).loc["u3", "gender"] == "f"
    assert features.items_at(["i7"], just_before(cuts.training_cuts[0])).loc["i7", "category"] == "c1"


def test_nothing_of_the_cut_itself_is_known_at_the_cut(config: Settings) -> None:
    features, cuts = Features.open(config), data_timeline(config)
    catch_up(features, cuts.moments)
    assert cuts.cut.hour == 0  # where the events of a whole day stand, told by the date alone
    states = states_at(features, features.events(), cuts.cut)
    assert len(states) == 20
    for state in states:
        assert max(state.session_times) < cuts.cut.timestamp()
