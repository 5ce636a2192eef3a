"""How long the event log keeps events."""

from __future__ import annotations

from datetime import datetime, timedelta

from feature_repo.event_log.base import INGEST_CONSUMER, EventLog
from infra.settings import Settings


def trim_old(log: EventLog, settings: Settings, now: datetime) -> int:
    """Drop the events that are older than `event_log_days` and in the features and in the lake; returns how many.

    Before the first ingest nothing is dropped: the lake is where events are kept for good, and until there is one the
    log holds the only copy. It is full some day then, and its error says what to do.

    Args:
        now: by the wall clock, which times of arrival are of; not by a replayed one.

    Raises:
        EventLogDownError: the log cannot be reached.
    """
    if not log.place(INGEST_CONSUMER).position:
        return 0
    return log.trim(now - timedelta(days=settings.event_log_days))
