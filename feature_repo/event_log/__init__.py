"""The durable log of arriving events."""

from feature_repo.event_log.base import FEATURES_CONSUMER, INGEST_CONSUMER, EventLog, Place
from feature_repo.event_log.choice import has_event_log, open_event_log
from feature_repo.event_log.reading import unread
from feature_repo.event_log.retention import trim_old

__all__ = [
    "FEATURES_CONSUMER",
    "INGEST_CONSUMER",
    "EventLog",
    "Place",
    "has_event_log",
    "open_event_log",
    "trim_old",
    "unread",
]
