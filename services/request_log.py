"""A share of the requests, with the features that they read, is kept for the parity check; beside the answers."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from feature_repo.online import OnlineRow
from feature_repo.request_log import LoggedRequest, RequestLog
from infra.settings import Settings
from services.metrics import FAILURES

log = logging.getLogger("bentoml.kairos.requests")

WAITING: Final = 200
"""Requests that may wait to be written; more are not kept, as an answer must never wait for the disk."""
_SPAN: Final = 16**8


class RequestSample:
    """Chooses requests by their ids and writes them in the background. One per process, used on one event loop.

    Args:
        applied: tells the position in the event log up to which the features know the events.
    """

    def __init__(self, settings: Settings, applied: Callable[[], int]) -> None:
        self._settings = settings
        self._applied = applied
        self._waiting: asyncio.Queue[LoggedRequest] = asyncio.Queue(WAITING)
        self._log: RequestLog | None = None
        self._is_failing = False

    def position(self) -> int:
        """To be asked before the features are read: at least so far they know the events."""
        return self._applied()

    def keep(
        self,
        request_id: str,
        user: str,
        at: datetime,
        model: str,
        position: int,
        features: Sequence[str],
        row: OnlineRow,
    ) -> None:
        """Keep the request if it is of the sample; returns at once.

        Args:
            request_id: random, in hexadecimal.
            model: tag of the bundle that reads the features.
            position: from before the row was read.
            features: what was read, as `view:feature`.
        """
        if int(request_id[:8], 16) >= self._settings.request_log_share * _SPAN:
            return
        values = {feature: row.values.get(feature.partition(":")[2]) for feature in features}
        try:
            self._waiting.put_nowait(LoggedRequest(request_id, user, at, model, position, values, row.moments))
        except asyncio.QueueFull:
            FAILURES.labels("request_log").inc()

    async def write_on(self) -> None:
        """Write what is kept, until cancelled."""
        while True:
            requests = [await self._waiting.get()]
            await self._write(requests + self._drained())

    async def close(self) -> None:
        """Write what still waits."""
        if requests := self._drained():
            await self._write(requests)
        if self._log:
            self._log.close()

    def _drained(self) -> list[LoggedRequest]:
        return [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]

    async def _write(self, requests: Sequence[LoggedRequest]) -> None:
        try:
            await asyncio.to_thread(self._append, requests)
        except (sqlite3.Error, OSError) as error:
            FAILURES.labels("request_log").inc()
            if not self._is_failing:
                log.error("requests cannot be logged, going on without: %s: %s", type(error).__name__, error)
            self._is_failing = True
        else:
            self._is_failing = False

    def _append(self, requests: Sequence[LoggedRequest]) -> None:
        if self._log is None:
            self._log = RequestLog.of(self._settings)
        self._log.append(requests)
