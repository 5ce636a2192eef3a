"""What clients send: requests as bytes, ready to go out, from users and events of the shop's own data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

VERSION: Final = "/v1"
"""Of the API, the beginning of its paths."""
RECOMMEND: Final = f"{VERSION}/recommend"
EVENTS: Final = f"{VERSION}/events"
SIMILAR: Final = f"{VERSION}/similar"
CART: Final = f"{VERSION}/cart"


class Sent(NamedTuple):
    """An event as a client remembers it."""

    event_id: str
    user_id: str
    item_id: str


class Request(NamedTuple):
    """One request, and the events in it."""

    path: str
    data: bytes
    events: tuple[Sent, ...] = ()


class Traffic(Protocol):
    """A supply of requests that does not end. Made in the load's own process, so it travels as plain data."""

    def next(self) -> Request: ...


def post(path: str, content: Any) -> bytes:
    """A whole HTTP request."""
    body = json.dumps(content, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Recommends:
    """Users in turn, each asking for `k` items."""

    users: Sequence[str]
    path: str = RECOMMEND
    k: int = 10
    at: int = 0

    def __post_init__(self) -> None:
        self._ready = [Request(self.path, post(self.path, {"user_id": user, "k": self.k})) for user in self.users]

    def next(self) -> Request:
        self.at += 1
        return self._ready[self.at % len(self._ready)]


@dataclass
class Events:
    """Real events told anew, in turn, `batch` to a request; every `fresh_every`-th of them by a user made up here."""

    real: Sequence[tuple[str, str, str]]
    """user, item, event type"""
    prefix: str
    """Of the events' ids and of the users made up: nobody else has it."""
    batch: int = 1
    fresh_every: int = 0
    """0: never"""
    events_per_fresh: int = 20
    at: int = 0

    def next(self) -> Request:
        sent, contents = [], []
        for number in range(self.at, self.at + self.batch):
            user, item, kind = self.real[number % len(self.real)]
            if self.fresh_every and number % self.fresh_every == 0:
                user = f"{self.prefix}u{number // self.fresh_every // self.events_per_fresh}"
            sent.append(Sent(f"{self.prefix}{number}", user, item))
            contents.append({"event_id": sent[-1].event_id, "user_id": user, "item_id": item, "event_type": kind})
        self.at += self.batch
        return Request(EVENTS, post(EVENTS, contents), tuple(sent))


@dataclass
class Mixed:
    """Requests of several kinds, drawn by their shares."""

    parts: Sequence[Traffic]
    shares: Sequence[float]
    seed: int = 7
    _drawn: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def next(self) -> Request:
        if not self._drawn:
            self._drawn = self._rng.choice(len(self.parts), 1_000, p=self.shares).tolist()
        return self.parts[self._drawn.pop()].next()
