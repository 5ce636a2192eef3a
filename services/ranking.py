"""Where the model computes: beside the event loop, and within a time that a shopper still waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

RANK_MORE_S = 0.02
"""So much longer may it take for every further request that is answered together with the first."""


class Ranking:
    """A few threads of its own: a model that hangs holds up no other work of the service."""

    def __init__(self, within_s: float) -> None:
        """
        Args:
            within_s: the longest that one request waits, from when it gets in line.
        """
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="rank")

    async def run(self, work: Callable[[], T], requests: int = 1) -> T:
        """What `work` returns.

        Work that has not begun when its time is over never does; what has begun runs on, unheard.

        Raises:
            TimeoutError: it took too long.
        """
        async with asyncio.timeout(self._within_s + RANK_MORE_S * (requests - 1)):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
