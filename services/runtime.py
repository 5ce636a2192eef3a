"""Everything that a running service holds, put together; imported by the worker alone, for it takes seconds."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from feature_repo.clock import Clock
from feature_repo.event_log import open_event_log
from infra.memory import keep_for_good
from infra.settings import Settings
from services.applier import Applier
from services.champion import ChampionWatch
from services.errors import StoreDownError
from services.forwarding import keep_forwarding
from services.group_commit import GroupCommit
from services.intake import Intake
from services.items import ItemWatch
from services.messages import Health
from services.online import OnlineFeatures
from services.pipeline import RecommendPipeline
from services.progress import Progress
from services.refresh import ItemRefresh
from services.request_log import RequestSample

log = logging.getLogger("bentoml.kairos")

WARM_UP_WITHIN_S = 30.0
SWITCH_S = 0.001
"""How long a thread may keep Python's lock when another wants it. By default 5 ms, which a request pays for each of its
array operations while a model is read in the background."""


class Runtime:
    """The parts of one service process; made on the event loop that it serves on."""

    def __init__(self, settings: Settings, packed: Callable[[], tuple[str, Path] | None] = lambda: None) -> None:
        self.clock = Clock.of(settings)
        self.online = OnlineFeatures(settings)
        self.items = ItemWatch(settings.packed, self.clock.now)
        self.champions = ChampionWatch(
            settings.champion, packed, self.items, ahead=lambda served: self.online.prepare(served.features)
        )
        self.refresh = ItemRefresh(settings, self.clock)
        self._log = open_event_log(settings)
        self._commit = GroupCommit(self._log)
        self._progress = Progress(self._log)
        self.applier = Applier(settings, self.clock, self._progress.reached)
        self.intake = Intake(self._commit, self._progress, self.clock, settings.max_events_waiting)
        self.requests = RequestSample(settings, lambda: self.intake.applied)
        self.pipeline = RecommendPipeline(
            self.champions, self.online, self.clock, self.requests, rank_within_s=settings.rank_within_s
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the model and open the store; then keep up in the background, with what a crash left unapplied too."""
        # It takes seconds to be ready, and nobody waits for it.
        self._tasks = [self._background(self.applier.keep_up())]
        _share_the_machine()
        await asyncio.to_thread(self.items.follow)
        await asyncio.gather(asyncio.to_thread(self.champions.follow), self.online.open())
        await self._warm_up()
        keep_for_good()
        work = (
            self._commit.write_on(),
            self._progress.watch(),
            keep_forwarding(self._log),
            self.champions.watch(),
            self.refresh.keep_up(),
            self.requests.write_on(),
        )
        self._tasks += [self._background(part) for part in work]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.requests.close()
        await self.online.close()
        self._commit.close()
        self._log.close()

    @property
    def is_ready(self) -> bool:
        return self.champions.current is not None

    @property
    def is_alive(self) -> bool:
        """Whether the background work goes on; without it a new champion or a missed event would go unnoticed."""
        return not any(task.done() for task in self._tasks)

    async def health(self) -> Health:
        served = self.champions.current
        up = self.online.is_up
        return Health(
            status="down" if served is None or not self.is_alive else "ok" if up else "degraded",
            model_version=served.version if served else None,
            online_store="up" if up else "down",
            events_waiting=await self.intake.waiting(),
            items_as_of=_iso(served.items_at) if served and served.items_at is not None else None,
            now=self.clock.now().isoformat(timespec="seconds"),
        )

    async def _warm_up(self) -> None:
        served = self.champions.current
        if served is None:
            log.warning("no model is in service yet; waiting for a champion")
            return
        try:
            await self.online.row("warm-up", served.features, self.clock.now(), within_s=WARM_UP_WITHIN_S)
        except StoreDownError as error:
            log.warning("starting without online features: %s", error)

    @staticmethod
    def _background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(_report)
        return task


def _share_the_machine() -> None:
    """Let no work in the background hold up a request for longer than its own share of the processor.

    One request is one user: threads within an operation cost more than they bring. BLAS's do harm besides: it lets one
    operation of several threads run at a time, so that requests stood for seconds while a new model was read.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)
    sys.setswitchinterval(SWITCH_S)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("background work ended", exc_info=error)
