"""What the event log needs beside the requests: a spool is moved on, old events go, a weakness is told."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event_log import EventLog
from feature_repo.event_log.retention import trim_old
from infra.settings import Settings
from services.metrics import FAILURES, SPOOLED

log = logging.getLogger("bentoml.kairos.event_log")

FORWARD_EVERY_S: Final = 1.0
TRIM_EVERY_S: Final = 3_600.0


class LogCare:
    """Looks after the event log. One per service process; several at once do no harm."""

    def __init__(self, events: EventLog, settings: Settings) -> None:
        self._log = events
        self._settings = settings
        self._is_failing = False

    async def keep_up(self) -> None:
        """Look after it, until cancelled."""
        await self._warn()
        loop = asyncio.get_running_loop()
        trimmed = -TRIM_EVERY_S
        while True:
            try:
                await asyncio.to_thread(self._log.forward)
                SPOOLED.set(await asyncio.to_thread(self._log.spooled))
                if loop.time() - trimmed >= TRIM_EVERY_S:
                    trimmed = loop.time()
                    await asyncio.to_thread(trim_old, self._log, self._settings, datetime.now(UTC))
            except (EventLogDownError, EventLogFullError) as error:
                FAILURES.labels("event_log").inc()
                if not self._is_failing:
                    log.error("the event log is not looked after: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False
            await asyncio.sleep(FORWARD_EVERY_S)

    async def _warn(self) -> None:
        try:
            warning = await asyncio.to_thread(self._log.durability)
        except EventLogDownError as error:
            log.warning("whether the event log is durable cannot be seen now: %s", error)
        else:
            if warning:
                log.warning("%s", warning)
