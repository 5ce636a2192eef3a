"""The event log of several machines: a stream in Redis (7.0 or newer).

The keys, which all begin with the Feast project's name: the stream `PROJECT:event_log`, whose consumer groups are the
consumers' places, `...:ids` (event ids by position), `...:last` (the newest position) and `...:rewinds`. What must be
one step is a script. A position n is the entry n-0; positions are consecutive.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log.base import Place
from feature_repo.redis_server import redis_address, redis_client

_SCRIPTS: Final = Path(__file__).parent / "redis_scripts"
APPENDED_AT_ONCE: Final = 2_000
"""Events per script: nobody else is answered while one runs, here for about 20 ms."""
_TRIMMED_AT_ONCE: Final = 2_000
_BLOCK_S: Final = 1.0
_PATIENCE_S: Final = 2.0
"""More than the settings' time-out for what waits for the server's disk, or for events."""


class RedisEventLog:
    """See `base.EventLog`. Nothing is connected before the first call.

    An append of more than `APPENDED_AT_ONCE` events is done in pieces: if Redis fails or is full between them, the
    pieces before stay.

    Args:
        connection_string: a URL, or Feast's form.
        project: the keys' names begin with it.
        timeout_s: the longest that an answer may take; two seconds more for those that wait for the server's disk.
    """

    def __init__(self, connection_string: str, project: str, timeout_s: float) -> None:
        self._address = redis_address(connection_string)
        self._stream = f"{project}:event_log"
        self._ids, self._last, self._rewinds = (f"{self._stream}:{part}" for part in ("ids", "last", "rewinds"))
        self._client = redis_client(Redis, connection_string, timeout_s, Retry(NoBackoff(), 0))
        self._patient = redis_client(Redis, connection_string, timeout_s + _PATIENCE_S, Retry(NoBackoff(), 0))
        self._append, self._trim = (self._patient.register_script(_script(name)) for name in ("append", "trim"))
        self._consumer = self._client.register_script(_script("consumer"))

    def append(self, events: Sequence[Event]) -> list[bool]:
        new: list[bool] = []
        for start in range(0, len(events), APPENDED_AT_ONCE):
            arguments: list[str] = []
            for event in events[start : start + APPENDED_AT_ONCE]:
                arguments += (event.event_id, event.model_dump_json(exclude_none=True))
            with self._reported():
                answer = self._append(keys=[self._stream, self._ids, self._last], args=arguments)
            new += map(bool, answer)
        return new

    def read(self, after: int, limit: int = 10_000) -> list[tuple[int, Event]]:
        with self._reported():
            entries = self._client.xrange(self._stream, min=f"{after + 1}-0", count=limit)
        return [(_position(name), Event.of_log(fields[b"body"])) for name, fields in entries]

    def last(self) -> int:
        with self._reported():
            entries = self._client.xrevrange(self._stream, count=1)
        return _position(entries[0][0]) if entries else 0

    def wait(self, after: int, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        while self.last() <= after:
            left = until - time.monotonic()
            if left <= 0:
                return False
            block_ms = max(round(min(left, _BLOCK_S) * 1_000), 1)  # 0 would block for ever
            with self._reported():
                self._patient.xread({self._stream: f"{after}-0"}, count=1, block=block_ms)
        return True

    def place(self, consumer: str) -> Place:
        position, rewinds, _, _ = self._ask(consumer)
        return Place(position, rewinds)

    def mark(self, consumer: str, position: int, *, since: Place) -> None:
        self._ask(consumer, "mark", position, since.rewinds)

    def rewind(self, consumer: str, position: int) -> None:
        self._ask(consumer, "rewind", position)

    def waiting(self, consumer: str) -> int:
        position, _, first, last = self._ask(consumer)
        return max(last - max(position, first - 1), 0)

    def trim(self, before: datetime) -> int:
        moment, trimmed = round(before.timestamp() * 1e6), 0
        while True:
            with self._reported():
                dropped = self._trim(keys=[self._stream, self._ids], args=[moment, _TRIMMED_AT_ONCE])
            trimmed += dropped
            if dropped < _TRIMMED_AT_ONCE:
                return trimmed

    def forward(self) -> int:
        return 0

    def spooled(self) -> int:
        return 0

    def durability(self) -> str | None:
        """As in `base`, by the server's configuration; a server that does not tell it is named too."""
        try:
            with self._reported():
                found = {
                    name: self._client.config_get(name).get(name, "unknown")
                    for name in ("appendonly", "appendfsync", "maxmemory-policy")
                }
        except EventLogDownError as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            return (
                f"Redis at {self._address} does not tell its configuration ({error.__cause__}): see that it has "
                f"appendonly yes, appendfsync always and maxmemory-policy noeviction"
            )
        lacks = []
        if found["appendonly"] != "yes":
            lacks.append("keeps nothing on disk: set appendonly yes and appendfsync always")
        elif found["appendfsync"] != "always":
            lacks.append(
                f"has appendfsync {found['appendfsync']}: a power cut loses the last acknowledged events; set "
                f"appendfsync always"
            )
        if found["maxmemory-policy"].startswith("allkeys"):
            lacks.append(f"may evict the event log (maxmemory-policy {found['maxmemory-policy']}): set noeviction")
        return f"Redis at {self._address} " + ", and ".join(lacks) if lacks else None

    def close(self) -> None:
        self._client.close()
        self._patient.close()

    def _ask(self, consumer: str, *arguments: Any) -> list[int]:
        with self._reported():
            return self._consumer(keys=[self._stream, self._rewinds], args=[consumer, *arguments])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OutOfMemoryError as error:
            raise EventLogFullError(
                f"the event log, Redis at {self._address}, has no room ({error}): raise its maxmemory, or ingest the "
                f"events (`kairos ingest --connector event-log`), so that old ones can go"
            ) from error
        except (RedisError, OSError) as error:
            raise EventLogDownError(
                f"the event log, Redis at {self._address}, failed: {error}; see that it runs and that KAIROS_REDIS_URL "
                f"names it"
            ) from error


def _script(name: str) -> str:
    return (_SCRIPTS / f"{name}.lua").read_text()


def _position(name: bytes) -> int:
    return int(name.partition(b"-")[0])
