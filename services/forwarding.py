"""Moves on what this machine took while the event log that all machines share was away."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event_log import EventLog
from services.metrics import FAILURES

log = logging.getLogger("bentoml.kairos.forwarding")

EVERY_S: Final = 1.0


async def keep_forwarding(events: EventLog) -> None:
    """Move on every second, until cancelled; say once what could lose acknowledged events."""
    is_failing = is_told = False
    while True:
        try:
            await asyncio.to_thread(events.forward)
            if not is_told and (risk := await asyncio.to_thread(events.durability)):
                log.warning("acknowledged events can be lost: %s", risk)
            is_told = True
            is_failing = False
        except (EventLogDownError, EventLogFullError) as error:
            FAILURES.labels("event_log").inc()
            if not is_failing:
                log.error("the event log is away: %s", error)
            is_failing = True
        await asyncio.sleep(EVERY_S)
