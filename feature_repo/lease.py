"""Whose turn it is among the processes of several machines: a key in Redis that its owner renews."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

LEASE_S: Final = 1.5
"""So long after its end an owner still keeps the others waiting."""
RENEW_EVERY_S: Final = 0.4
ASK_EVERY_S: Final = 0.2

_TAKE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_GIVE_BACK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lease:
    """A turn (see `turn.Turn`) that ends by itself unless it is renewed, which a thread does.

    An owner that was stopped for longer than the lease lasts and goes on may work beside its successor, until it asks
    for its turn again. What it writes then is older than what its successor wrote, and the store refuses it.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        self._take_script, self._give_back_script = (redis.register_script(script) for script in (_TAKE, _GIVE_BACK))
        self._key = key
        self._token = uuid.uuid4().hex
        self._until = 0.0
        self._renewing: threading.Thread | None = None
        self._ended = threading.Event()

    def take(self) -> None:
        """Wait until it is ours; returns at once if it is.

        Raises:
            RedisError: Redis cannot be reached, so nobody knows whose turn it is.
        """
        while not self._is_ours():
            if not self._ask():
                time.sleep(ASK_EVERY_S)
            elif self._renewing is None or not self._renewing.is_alive():
                self._ended.clear()
                self._renewing = threading.Thread(target=self._renew, daemon=True, name="lease")
                self._renewing.start()

    def give_back(self) -> None:
        """To whoever asks next; harmless where it is not ours.

        Raises:
            RedisError: Redis cannot be reached; the lease ends by itself.
        """
        if self._renewing is not None:
            self._ended.set()
            self._renewing.join()
            self._renewing, self._until = None, 0.0
            self._give_back_script(keys=[self._key], args=[self._token])

    def _is_ours(self) -> bool:
        return time.monotonic() < self._until

    def _ask(self) -> bool:
        asked = time.monotonic()
        is_ours = bool(self._take_script(keys=[self._key], args=[self._token, int(LEASE_S * 1_000)]))
        self._until = asked + LEASE_S if is_ours else 0.0
        return is_ours

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_EVERY_S) and self._is_ours():
            try:
                self._ask()
            except RedisError:
                continue  # it ends by itself if that goes on, and whoever takes the next step notices
