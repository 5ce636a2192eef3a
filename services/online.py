"""The online features as the service uses them: bounded in time, and given a rest after a failure."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime

from feature_repo.online import OnlineRow
from feature_repo.store import Features
from feature_repo.store_errors import ROW_ERRORS, STORE_ERRORS
from infra.settings import Settings
from services.errors import StoreDownError
from services.metrics import EXPIRED, FAILURES, stage

log = logging.getLogger("bentoml.kairos.online")

REST_S = 1.0
"""After a failure no request waits for the store again before this."""


class OnlineFeatures:
    """Reads users' rows. One per process, used on one event loop; opens the store when needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._features: Features | None = None
        self._opening: asyncio.Task[Features] | None = None
        self._prepared: set[tuple[str, ...]] = set()
        """The lists of features that the store has looked up."""
        self._read_within_s = settings.features_within_ms / 1000
        # Feast's SQLite store has no async read and needs a thread; Redis has one.
        self._reads_async = False
        self._failed_at: float | None = None

    @property
    def is_up(self) -> bool:
        """Whether the last access worked."""
        return self._failed_at is None

    async def open(self) -> None:
        """Open the store ahead of the first request; if it is down, later requests try again."""
        try:
            await self._open()
        except STORE_ERRORS as error:
            self._failed(error)

    async def close(self) -> None:
        if self._features:
            await self._features.feast.close()

    def prepare(self, names: Sequence[str]) -> None:
        """Look a list of features up ahead of the first request for it, which may not wait for that. Blocking; where
        the store is down or not open yet, nothing is done."""
        if self._features is None:
            return
        try:
            self._features.online_reader(names)
        except STORE_ERRORS as error:
            log.warning("the features cannot be looked up ahead: %s: %s", type(error).__name__, error)
        else:
            self._prepared.add(tuple(names))

    async def row(self, user: str, names: Sequence[str], now: datetime, *, within_s: float | None = None) -> OnlineRow:
        """The named features of one user at this moment.

        Args:
            within_s: the longest that it may take; None: as the settings say.

        Raises:
            StoreDownError: the store failed, was too slow, or failed less than `REST_S` ago.
        """
        if self._failed_at is not None and time.monotonic() - self._failed_at < REST_S:
            raise StoreDownError("the online store failed a moment ago")
        try:
            with stage("features"):
                async with asyncio.timeout(self._read_within_s if within_s is None else within_s):
                    features = await self._open()
                    if tuple(names) not in self._prepared:
                        await asyncio.to_thread(self.prepare, names)
                    if self._reads_async:
                        row = await features.online_row_async(user, names, now)
                    else:
                        row = await asyncio.to_thread(features.online_row, user, names, now)
        except ROW_ERRORS as error:
            FAILURES.labels("user_row").inc()
            raise StoreDownError(str(error)) from error
        except STORE_ERRORS as error:
            self._failed(error)
            raise StoreDownError(str(error)) from error
        self._failed_at = None
        for view in row.expired:
            EXPIRED.labels(view).inc()
        return row

    async def _open(self) -> Features:
        """The open store. Opening it takes longer than a request may wait, and goes on when the request is gone."""
        if self._features is None:
            if self._opening is None:
                self._opening = asyncio.create_task(self._opened())
                self._opening.add_done_callback(self._has_opened)
            self._features = await asyncio.shield(self._opening)
        return self._features

    async def _opened(self) -> Features:
        features = await asyncio.to_thread(Features.open, self._settings)
        await features.feast.initialize()
        self._reads_async = features.feast._get_provider().async_supported.online.read
        return features

    def _has_opened(self, opening: asyncio.Task[Features]) -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._features = opening.result()

    def _failed(self, error: Exception) -> None:
        if self._failed_at is None:
            log.error("online store failed, going on without it: %s: %s", type(error).__name__, error)
        self._failed_at = time.monotonic()
        FAILURES.labels("online_store").inc()
        # A replaced SQLite file is seen by a new connection only. Redis' client connects anew by itself.
        if not self._reads_async and not isinstance(error, TimeoutError):
            self._features = None
            self._prepared.clear()
