"""From the service's log into the lake: once, and remembered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from feature_repo.event import Event
from feature_repo.event_log import INGEST_CONSUMER, open_event_log
from feature_repo.lake import Lake
from flows.connectors.event_log import EventLogConnector
from flows.ingest import ingest
from infra.settings import Settings

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def events(count: int, start: int = 0) -> list[Event]:
    return [
        Event(event_id=str(n), user_id="u", item_id=f"i{n}", event_type="view", timestamp=NOW)
        for n in range(start, start + count)
    ]


def run(config: Settings) -> int:
    return ingest(EventLogConnector(config.event_log), config, now=NOW, progress=False).accepted


def test_what_was_posted_reaches_the_lake_once(config: Settings) -> None:
    log = open_event_log(config)
    log.append(events(3))
    assert run(config) == 3
    assert log.waiting(INGEST_CONSUMER) == 0
    assert run(config) == 0
    log.append(events(2, start=3))
    assert run(config) == 2
    assert Lake(config.lake).summary()["events"] == 5


def test_a_crash_before_the_mark_adds_nothing_twice(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    open_event_log(config).append(events(3))
    monkeypatch.setattr(EventLogConnector, "committed", lambda self: None)  # as if killed before it
    assert run(config) == 3
    monkeypatch.undo()
    assert run(config) == 0
    assert open_event_log(config).waiting(INGEST_CONSUMER) == 0
