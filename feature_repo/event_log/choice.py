"""The event log that the settings name."""

from __future__ import annotations

from feature_repo.event_log.base import EventLog
from feature_repo.event_log.sqlite import SqliteEventLog
from infra.settings import Settings


def open_event_log(settings: Settings) -> EventLog:
    """The installation's log; the caller closes it.

    Raises:
        EventLogDownError, EventLogFullError: its file cannot be opened or made.
    """
    return SqliteEventLog(settings.event_log, settings.event_log_mb)
