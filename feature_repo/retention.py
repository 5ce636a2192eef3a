"""Old events leave the log once everybody has them."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event_log import INGEST_CONSUMER, EventLog, open_event_log
from infra.settings import Settings

EVERY_S: Final = 3_600.0


def trim(log: EventLog, days: float, now: datetime) -> int:
    """Drop what arrived more than `days` before `now` and is in the features and the lake; returns how many events.

    Raises:
        EventLogDownError, EventLogFullError: what is left is whole.
    """
    # An ingest that never ran has still to read everything; without a place it would be passed over.
    log.mark(INGEST_CONSUMER, 0, since=log.place(INGEST_CONSUMER))
    return log.trim(now - timedelta(days=days))


def keep_trimming(config: Settings) -> NoReturn:
    """Trim every hour; if the log is down, an hour later."""
    while True:
        with suppress(EventLogDownError, EventLogFullError), closing(open_event_log(config)) as log:
            # Arrivals are told by the wall clock, also where the service's is another.
            trim(log, config.event_log_days, datetime.now(UTC))
        time.sleep(EVERY_S)
