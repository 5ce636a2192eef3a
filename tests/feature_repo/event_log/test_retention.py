"""How long the log keeps events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from feature_repo.event_log import FEATURES_CONSUMER, INGEST_CONSUMER, EventLog, Place, trim_old
from infra.settings import Settings

from .logs import event, numbers

SETTINGS = Settings(event_log_days=2)


def after(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_old_events_go_once_both_consumers_have_them(log: EventLog) -> None:
    log.append([event(n) for n in range(10)])
    positions = [position for position, _ in log.read(0)]
    log.mark(INGEST_CONSUMER, positions[7], since=Place())
    log.mark(FEATURES_CONSUMER, positions[4], since=Place())
    assert trim_old(log, SETTINGS, after(1.9)) == 0
    assert trim_old(log, SETTINGS, after(2.1)) == 5
    log.mark(FEATURES_CONSUMER, positions[9], since=log.place(FEATURES_CONSUMER))
    assert trim_old(log, SETTINGS, after(2.1)) == 3
    assert numbers(log.read(0)) == [8, 9]


def test_before_the_first_ingest_the_only_copy_stays(log: EventLog) -> None:
    log.append([event(1)])
    log.mark(FEATURES_CONSUMER, log.last(), since=Place())
    assert trim_old(log, SETTINGS, after(100)) == 0
    assert log.waiting(INGEST_CONSUMER) == 1
