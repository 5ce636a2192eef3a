"""The event log that the settings name."""

from __future__ import annotations

from feature_repo.event_log.base import EventLog
from feature_repo.event_log.redis import RedisEventLog
from feature_repo.event_log.spool import SpooledEventLog
from feature_repo.event_log.sqlite import SqliteEventLog
from infra.settings import Settings


def open_event_log(settings: Settings) -> EventLog:
    """The installation's log; the caller closes it.

    Raises:
        EventLogDownError, EventLogFullError: its file cannot be opened or made. Redis is not asked before the first
            call.
    """
    if settings.event_stream == "redis":
        assert settings.redis_url is not None  # checked where the settings are read
        remote = RedisEventLog(settings.redis_url, settings.project, settings.redis_timeout_s)
        return SpooledEventLog(remote, settings.spool, settings.event_log_mb)
    return SqliteEventLog(settings.event_log, settings.event_log_mb)


def has_event_log(settings: Settings) -> bool:
    """Whether there is a log already, which opening it would not make; nobody knows of one in Redis before asking."""
    return settings.event_stream == "redis" or settings.event_log.exists()
