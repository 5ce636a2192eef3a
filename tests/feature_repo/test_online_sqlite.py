"""What the SQLite online store says when its file cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from feature_repo.errors import OnlineStoreDownError
from feature_repo.online_store import sqlite
from feature_repo.store import Features
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.test_behaviour import NOW


@pytest.fixture
def live(features: Features, fill: FillLake) -> Features:
    fill([event("ann", "a", NOW)])
    features.compute([NOW])
    features.apply()
    return features


def test_a_file_that_somebody_holds_is_named(live: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAIT_FOR_WRITER_S", 0.1)
    file = live.settings.feast / "online.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        held = Features.open(live.settings)
        with pytest.raises(OnlineStoreDownError, match=rf"{file}, failed: database is locked; see that"):
            held.materialize(NOW)
    held.materialize(NOW)
    assert held.online_user("ann", ["user_activity:events_7d"], NOW)["events_7d"] == 1


def test_a_damaged_file_is_named_and_can_be_made_anew(live: Features) -> None:
    file = live.settings.feast / "online.db"
    live.feast._get_provider().online_store._close()
    for old in live.settings.feast.glob("online.db*"):
        old.unlink()
    file.write_bytes(b"no database" * 100)
    with pytest.raises(OnlineStoreDownError, match=rf"{file}, failed: file is not a database; .*kairos features"):
        Features.open(live.settings).materialize(NOW)
    file.unlink()
    again = Features.open(live.settings)
    again.apply()
    again.materialize(NOW)
    assert again.online_user("ann", ["user_activity:events_7d"], NOW)["events_7d"] == 1
