"""How often a client may ask."""

from __future__ import annotations

import time
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter


class Rates:
    """Counts in memory: with several workers each client has its rate with each of them."""

    def __init__(self, usual: str | None) -> None:
        """
        Args:
            usual: for who has no rate of their own, as in 100/second; None: no limit.
        """
        self._usual = usual
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def wait_s(self, client: str, own: str | None = None) -> float | None:
        """Count a request.

        Args:
            client: who asks.
            own: the client's own rate; None: the usual one.

        Returns:
            None if the client may go on, else after how many seconds to come back.
        """
        rate = own or self._usual
        if rate is None:
            return None
        limit = _parsed(rate)
        if self._limiter.hit(limit, client):
            return None
        return max(self._limiter.get_window_stats(limit, client).reset_time - time.time(), 0.0)


@lru_cache(maxsize=1_000)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)
