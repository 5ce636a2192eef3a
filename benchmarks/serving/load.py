"""The load: clients on kept-alive connections in a process of their own, thin enough to leave the processor to the
service. Closed loop: each client sends its next request when it has its answer. Open loop: requests arrive at a rate,
whether or not answers come, and each one's time counts from when it was due."""

from __future__ import annotations

import multiprocessing
import re
import select
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.serving.client import Client
from benchmarks.serving.traffic import EVENTS, Request, Sent, Traffic

ANSWER_WITHIN_S: Final = 30.0
"""A request without an answer for so long counts as failed."""
RECONNECT_EVERY_S: Final = 0.05
LISTEN_S: Final = 0.02
START_WITHIN_S: Final = 60.0
BROKEN: Final = 0
"""The status of a request whose connection broke or whose answer never came."""
_MARK: Final = re.compile(rb'"(?:model_version|served_by|features_updated)": ?"?([\w]+)')

_shared: Any = None
"""Of this process's pool: the barrier at which all loads begin together, and the event that ends them early."""


@dataclass(frozen=True)
class Load:
    """So many clients for so long."""

    port: int
    seconds: float
    clients: int = 1
    rate: float | None = None
    """Requests a second, open loop; None: closed loop."""


@dataclass
class Outcome:
    """What became of the requests, in the order of their answers. Moments are of `time.perf_counter`, which all
    processes of a machine share."""

    at: list[float] = field(default_factory=list)
    """When it was sent; in an open loop, when it was due."""
    seconds: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)
    """How often answers said each of: a model's version, a rung of the ladder, true or false for features updated."""
    acknowledged: list[Sent] = field(default_factory=list)
    unanswered: list[Sent] = field(default_factory=list)
    """Events of requests that failed: they may be in the log or not."""
    unsent: int = 0
    """Requests of an open loop that were due, and that no client was free to send before all patience was over."""
    began: float = 0.0
    ended: float = 0.0

    def add(self, request: Request, at: float, now: float, status: int, body: bytes) -> None:
        self.at.append(at)
        self.seconds.append(now - at)
        self.status.append(status)
        self.path.append(request.path)
        is_done = 200 <= status < 300
        if is_done:
            self.marks.update(mark.decode() for mark in _MARK.findall(body))
        if request.path == EVENTS:
            (self.acknowledged if is_done else self.unanswered).extend(request.events)

    def times(self, path: str | None = None) -> npt.NDArray[np.float64]:
        """[n] seconds of the requests that succeeded."""
        kept = [
            s
            for s, status, p in zip(self.seconds, self.status, self.path, strict=True)
            if 200 <= status < 300 and path in (None, p)
        ]
        return np.array(kept)

    def between(self, start: float, stop: float) -> Outcome:
        """The requests of a span of time, without their events and marks."""
        rows = zip(self.at, self.seconds, self.status, self.path, strict=True)
        columns = [list(column) for column in zip(*(row for row in rows if start <= row[0] < stop), strict=True)]
        return Outcome(*columns, began=start, ended=stop) if columns else Outcome(began=start, ended=stop)

    @property
    def failures(self) -> dict[str, int]:
        """How many requests failed, by path and status; 0 is a broken connection."""
        failed = Counter(f"{p} {s}" for p, s in zip(self.path, self.status, strict=True) if not 200 <= s < 300)
        return dict(failed) | ({"unsent": self.unsent} if self.unsent else {})

    @property
    def per_s(self) -> float:
        """Successful requests a second."""
        return len(self.times()) / max(self.ended - self.began, 1e-9)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Several loads as one."""
    whole = Outcome(began=min(o.began for o in outcomes), ended=max(o.ended for o in outcomes))
    for outcome in outcomes:
        for name in ("at", "seconds", "status", "path", "acknowledged", "unanswered"):
            getattr(whole, name).extend(getattr(outcome, name))
        whole.marks.update(outcome.marks)
        whole.unsent += outcome.unsent
    return whole


class Loads:
    """Loads on their way, each in a process of its own."""

    def __init__(self, futures: Sequence[Future[Outcome]], ending: Any) -> None:
        self._futures, self._ending = futures, ending

    def outcome(self) -> Outcome:
        """All of them as one, when they are over."""
        return together([future.result() for future in self._futures])

    def end(self) -> None:
        """Let them end now, whatever their time."""
        self._ending.set()


@contextmanager
def loading(*loads: tuple[Load, Traffic]) -> Iterator[Loads]:
    """Start loads; all have begun when this is entered, and ended when it is left."""
    context = multiprocessing.get_context("spawn")
    barrier, ending = context.Barrier(len(loads) + 1), context.Event()
    with ProcessPoolExecutor(len(loads), context, initializer=_share, initargs=(barrier, ending)) as pool:
        futures = [pool.submit(_begin, load, traffic) for load, traffic in loads]
        barrier.wait(START_WITHIN_S)
        yield Loads(futures, ending)


def loaded(load: Load, traffic: Traffic) -> Outcome:
    """One load, from beginning to end."""
    with loading((load, traffic)) as started:
        return started.outcome()


def _share(barrier: Any, ending: Any) -> None:
    global _shared
    _shared = barrier, ending


def _begin(load: Load, traffic: Traffic) -> Outcome:
    barrier, ending = _shared
    barrier.wait(START_WITHIN_S)
    return _Drive(load, traffic, ending.is_set).run()


class _Drive:
    """One load while it runs: until its time is over and every answer is there, or has been waited for long enough."""

    def __init__(self, load: Load, traffic: Traffic, is_ended: Callable[[], bool]) -> None:
        self._load, self._traffic, self._is_ended = load, traffic, is_ended
        self._poll = select.epoll()
        self._by_file: dict[int, Client] = {}
        self._idle: list[Client] = []
        self._away = [(0.0, Client(load.port)) for _ in range(load.clients)]
        """When to try to connect, and who."""
        self._sent = 0
        self._outcome = Outcome(began=time.perf_counter())
        self._end = self._outcome.began + load.seconds

    def run(self) -> Outcome:
        while not self._is_over():
            self._connect()
            self._send()
            self._receive(self._pause())
            self._give_up()
        self._outcome.ended = self._end
        self._outcome.unsent = self._overdue()
        for client in list(self._by_file.values()):
            self._drop(client)
        self._poll.close()
        return self._outcome

    def _is_over(self) -> bool:
        now = time.perf_counter()
        if now < self._end and self._is_ended():
            self._end = now
        if now < self._end:
            return False
        is_done = not self._overdue() and not any(client.request for client in self._by_file.values())
        return is_done or now > self._end + ANSWER_WITHIN_S

    def _overdue(self) -> int:
        """Requests of an open loop that were due in its time and are not sent yet."""
        if self._load.rate is None:
            return 0
        now = min(time.perf_counter(), self._end)
        return max(int((now - self._outcome.began) * self._load.rate) - self._sent, 0)

    def _next_due(self) -> float:
        return self._outcome.began + (self._sent / self._load.rate if self._load.rate else 0.0)

    def _pause(self) -> float:
        """How long to listen: until the next request is due, if anybody could send it."""
        now = time.perf_counter()
        if not self._idle or (now >= self._end and not self._overdue()):
            return LISTEN_S
        return min(max(self._next_due() - now, 0.0), LISTEN_S)

    def _connect(self) -> None:
        if not self._away:
            return
        now = time.perf_counter()
        for due, client in list(self._away):
            if due > now:
                continue
            self._away.remove((due, client))
            if client.connect():
                self._by_file[client.file] = client
                self._poll.register(client.file, select.EPOLLIN)
                self._idle.append(client)
            else:
                self._away.append((time.perf_counter() + RECONNECT_EVERY_S, client))

    def _send(self) -> None:
        while self._idle and (due := self._next_due()) <= (now := time.perf_counter()):
            if now >= self._end and not self._overdue():
                return
            client = self._idle.pop()  # the one used last: the service closes what was idle for long
            self._sent += 1
            if not client.send(self._traffic.next(), due if self._load.rate else now):
                self._drop(client)

    def _receive(self, pause: float) -> None:
        for file, _ in self._poll.poll(pause):
            client = self._by_file[file]
            try:
                answer = client.receive()
            except OSError:
                self._drop(client)
                continue
            if answer is not None and client.request is not None:
                self._outcome.add(client.request, client.at, time.perf_counter(), *answer)
                client.request = None
                self._idle.append(client)

    def _give_up(self) -> None:
        before = time.perf_counter() - ANSWER_WITHIN_S
        for client in [c for c in self._by_file.values() if c.request and c.sent_at < before]:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        """The connection is of no use any more: neither is what it was waiting for."""
        now = time.perf_counter()
        if client.request is not None:
            self._outcome.add(client.request, client.at, now, BROKEN, b"")
        elif client in self._idle:
            self._idle.remove(client)
        self._poll.unregister(client.file)
        del self._by_file[client.file]
        client.close()
        self._away.append((now + RECONNECT_EVERY_S, client))
