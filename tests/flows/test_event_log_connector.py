"""From the service's log into the lake: once, and remembered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from feature_repo.event import Event
from feature_repo.event_log import INGEST_CONSUMER, open_event_log
from feature_repo.lake import Lake
from feature_repo.schema import EVENT_TYPES, MAX_ID_LENGTH
from flows.connectors.event_log import EventLogConnector
from flows.ingest import ingest
from flows.ingest_flow import ingest_flow
from flows.quarantine import show_batch
from infra.settings import Settings
from tests.flows.heard import heard

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def _of(n: int) -> dict[str, str]:
    return {
        "event_id": str(n), "user_id": "u", "item_id": f"i{n}", "event_type": "view", "timestamp": NOW.isoformat(),
    }  # fmt: skip


def events(count: int, start: int = 0) -> list[Event]:
    return [Event.model_validate(_of(n)) for n in range(start, start + count)]


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


def test_bad_events_in_the_log_do_not_hold_up_the_others(config: Settings) -> None:
    blank = [Event.of_log(json.dumps(_of(n) | {"user_id": " "})) for n in range(9)]
    log = open_event_log(config)
    log.append([*blank, *events(1, start=9)])
    report = ingest(EventLogConnector(config.event_log), config, now=NOW, progress=False)
    assert (report.accepted, report.by_rule) == (1, {"user_id_required": 9})
    assert show_batch(config.quarantine, report.batch_id).num_rows == 9
    assert log.waiting(INGEST_CONSUMER) == 0
    log.append([Event.of_log(json.dumps(_of(10) | {"item_id": " "}))])
    begun = datetime.now(UTC)
    ingest_flow("event-log", {"path": str(config.event_log)}, config, NOW)  # bad events alone
    assert heard("batch-refused", begun).startswith("100.0% of 1 rows of event log were rejected and the others taken")
    assert log.waiting(INGEST_CONSUMER) == 0
    assert Lake(config.lake).summary()["events"] == 1


_TEXT = st.text(min_size=1, max_size=MAX_ID_LENGTH)
_ID = _TEXT.filter(lambda text: set(map(category, text)) != {"Zs"})
_AMOUNT = st.none() | st.floats(0, allow_infinity=False)


@given(
    st.lists(
        st.builds(
            Event,
            user_id=_ID,
            item_id=_ID,
            event_type=st.sampled_from(EVENT_TYPES),
            timestamp=st.datetimes(datetime(1970, 1, 1), datetime(2023, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
            session_id=st.none() | _TEXT,
            quantity=_AMOUNT,
            price=_AMOUNT,
            value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            request_id=st.none() | _TEXT,
            position=st.none() | st.integers(0, 100_000),
            context=st.none() | st.dictionaries(_TEXT, st.text(max_size=20), max_size=3),
        ),
        min_size=30,
        max_size=60,
    )
)
@hypothesis_settings(max_examples=5, deadline=None)
def test_what_the_service_takes_the_lake_takes(taken: list[Event]) -> None:
    with TemporaryDirectory() as folder:
        config = Settings(home=Path(folder))
        open_event_log(config).append(taken)
        report = ingest(EventLogConnector(config.event_log), config, now=NOW, progress=False)
    assert (report.accepted, report.by_rule) == (len(taken), {})
