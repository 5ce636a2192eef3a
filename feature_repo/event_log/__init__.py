"""The durable log of arriving events."""

from feature_repo.event_log.sqlite import FEATURES_CONSUMER, INGEST_CONSUMER, EventLog, Place

__all__ = ["FEATURES_CONSUMER", "INGEST_CONSUMER", "EventLog", "Place"]
