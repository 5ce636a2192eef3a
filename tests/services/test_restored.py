"""A home that was backed up, lost and restored: its champion answers as before."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo.event import Event
from feature_repo.event_log import open_event_log
from feature_repo.store import Features
from flows.backup import back_up
from flows.model_store import bundle_folder
from flows.restore import restore
from infra.settings import Settings
from models import bundle, registry
from models.state import UserState
from tests.services.conftest import NOW, Shop

USERS = ("u1", "u2", "nobody")


def answers(config: Settings, features: Features) -> dict[str, list[dict[str, Any]]]:
    """What the champion recommends by the online rows."""
    folder = bundle_folder(config, registry.champion(config.champion).tag)
    registry.check(folder)
    asked = bundle.manifest(folder)["features"]
    states = [UserState.from_row(user, features.online_user(user, asked, NOW), NOW.timestamp()) for user in USERS]
    lists = bundle.load(folder).recommend(states, 5)
    return {user: [asdict(item) for item in items] for user, items in zip(USERS, lists, strict=True)}


def test_the_champion_answers_as_before(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shop.copy(tmp_path / "home").settings
    monkeypatch.setenv("BENTOML_HOME", str(config.bentoml_home))
    with closing(open_event_log(config)) as log:
        log.append([Event(user_id="u1", item_id="i1", event_type="view", timestamp=NOW - timedelta(hours=1))])
    features = Features.open(config)
    features.apply()
    before = answers(config, features)
    assert {user: len(items) for user, items in before.items()} == dict.fromkeys(USERS, 5)
    assert before["u1"] != before["u2"] != before["nobody"]
    items = features.items_at(["i1", "i2"], NOW)

    backup = back_up(config, tmp_path / "backups", keep=1, now=NOW)
    assert backup.manifest.champion == shop.tags[0]
    shutil.rmtree(config.home)
    # Elsewhere, so that nothing can come from a file that this process still holds open.
    found = config.model_copy(update={"home": tmp_path / "elsewhere"})
    monkeypatch.setenv("BENTOML_HOME", str(found.bentoml_home))
    assert restore(backup.folder, found, now=NOW).moved
    features = Features.open(found)
    assert answers(found, features) == before
    with closing(open_event_log(found)) as log:
        assert [event.item_id for _, event in log.read(0)] == ["i1"]
    features.apply()  # as `kairos restore` does: the registry has the files' paths
    assert features.items_at(["i1", "i2"], NOW).equals(items)
    assert set(features.compute([NOW]).values()) == {0}  # the snapshots are known to be up to date
