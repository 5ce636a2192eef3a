from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, INGEST_CONSUMER, EventLog, open_event_log
from feature_repo.retention import trim
from infra.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(open_event_log(Settings(home=tmp_path))) as log:
        log.append([Event(user_id="u", item_id=f"i{n}", event_type="view", timestamp=NOW) for n in range(3)])
        yield log


def test_what_no_ingest_has_read_stays(log: EventLog) -> None:
    log.mark(FEATURES_CONSUMER, log.last(), since=log.place(FEATURES_CONSUMER))
    assert trim(log, 30, NOW + timedelta(days=90)) == 0
    log.mark(INGEST_CONSUMER, log.last(), since=log.place(INGEST_CONSUMER))
    assert trim(log, 30, NOW + timedelta(days=90)) == 3


def test_what_arrived_lately_stays(log: EventLog) -> None:
    for consumer in (FEATURES_CONSUMER, INGEST_CONSUMER):
        log.mark(consumer, log.last(), since=log.place(consumer))
    assert trim(log, 30, NOW + timedelta(days=29)) == 0
