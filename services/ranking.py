"""Where the model computes: beside the event loop, for all that wait at once, and within a time that a shopper waits.

While the model is at work, requests that arrive wait; they are then answered together. A request that comes alone
never waits for others, and the busier the service is the more requests share what every call of the model costs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from models.recommender import Answered, Ask, Recommender
from services.metrics import STAGES, TOGETHER, stage

log = logging.getLogger("bentoml.kairos.ranking")

T = TypeVar("T")

RANK_MORE_S: Final = 0.02
"""So much longer may it take for every further request that is answered together with the first."""
MOST_TOGETHER: Final = 16
"""Requests in one call of the model: the first of them waits for the last."""


@dataclass
class _Waiting:
    model: Recommender
    asks: Sequence[Ask]
    since: float = field(default_factory=time.perf_counter)
    answers: asyncio.Future[list[Answered]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Ranking:
    """A few threads of its own: a model that hangs holds up no other work of the service. Used on one event loop."""

    def __init__(self, within_s: float) -> None:
        """
        Args:
            within_s: the longest that one request waits, from when it gets in line.
        """
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="rank")
        self._waiting: deque[_Waiting] = deque()
        self._is_busy = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, model: Recommender, asks: Sequence[Ask]) -> list[Answered]:
        """The model's answers, computed together with those of others that wait.

        Raises:
            TimeoutError: it took too long.
            Exception: whatever the model raises on these requests; those of others are not touched by it.
        """
        mine = _Waiting(model, asks)
        self._waiting.append(mine)
        if not self._is_busy:
            self._start()
        async with asyncio.timeout(self._within(len(asks))):
            return await mine.answers

    async def run(self, work: Callable[[], T], requests: int = 1) -> T:
        """What other work on the model, for so many requests, returns.

        Raises:
            TimeoutError: it took too long; what has begun runs on, unheard.
        """
        async with asyncio.timeout(self._within(requests)):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _within(self, requests: int) -> float:
        return self._within_s + RANK_MORE_S * (requests - 1)

    def _start(self) -> None:
        self._is_busy = True
        task = asyncio.create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Answer what waits until nothing does."""
        try:
            while group := self._next():
                try:
                    async with asyncio.timeout(self._within(sum(len(one.asks) for one in group))):
                        await self._answer(group)
                except TimeoutError:
                    # The thread is left to itself; those that come after go on in another one.
                    log.warning("the model is still at work on %d requests, going on without", len(group))
        finally:
            self._is_busy = False

    def _next(self) -> list[_Waiting]:
        """The first that waits, and those behind it that can go along."""
        group: list[_Waiting] = []
        size = 0
        while self._waiting:
            first = self._waiting[0]
            if first.answers.done():  # gave up
                self._waiting.popleft()
                continue
            if group and (first.model is not group[0].model or size + len(first.asks) > MOST_TOGETHER):
                break
            group.append(self._waiting.popleft())
            STAGES.labels("queue").observe(time.perf_counter() - first.since)
            size += len(first.asks)
        return group

    async def _answer(self, group: Sequence[_Waiting]) -> None:
        model, asks = group[0].model, [ask for one in group for ask in one.asks]
        TOGETHER.observe(len(asks))
        try:
            work = partial(model.answered, asks, timed=stage)
            answers = iter(await asyncio.get_running_loop().run_in_executor(self._threads, work))
        except Exception as error:  # noqa: BLE001 - handed on to whoever asked
            if len(group) == 1:
                if not group[0].answers.done():
                    group[0].answers.set_exception(error)
                return
            for one in group:  # a request that the model cannot digest must not cost the others their answers
                await self._answer([one])
            return
        for one in group:
            own = [next(answers) for _ in one.asks]
            if not one.answers.done():
                one.answers.set_result(own)
