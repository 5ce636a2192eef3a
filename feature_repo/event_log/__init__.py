"""The durable log of arriving events."""

from feature_repo.event_log.base import EventLog
from feature_repo.event_log.sqlite import FEATURES_CONSUMER, INGEST_CONSUMER, Place, SqliteEventLog

__all__ = ["FEATURES_CONSUMER", "INGEST_CONSUMER", "EventLog", "Place"]


def open_event_log(settings):
    return SqliteEventLog(settings.event_log)
