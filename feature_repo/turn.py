"""One process of an installation at a time: whose turn it is."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Protocol, TextIO

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from feature_repo.lease import Lease
from feature_repo.redis_server import redis_client
from infra.settings import Settings


class Turn(Protocol):
    """Something that one process has at a time. It goes to another soon after its owner has ended, however that was."""

    def take(self) -> None:
        """Wait until it is ours; returns at once if it is."""
        ...

    def give_back(self) -> None: ...


class FileTurn:
    """For the processes of one machine: the kernel hands a file's lock on the moment that its owner is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def take(self) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a")
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            self._file = file

    def give_back(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def turns(config: Settings) -> tuple[Turn, Turn]:
    """Being the next in line to apply events, and being the one who does: among all processes that share the log."""
    if config.event_stream == "redis":
        assert config.redis_url is not None  # checked where the settings are read
        redis = redis_client(Redis, config.redis_url, config.redis_timeout_s, Retry(NoBackoff(), 0))
        return Lease(redis, f"{config.project}:applier:next"), Lease(redis, f"{config.project}:applier")
    return FileTurn(config.home / "applier.next.lock"), FileTurn(config.home / "applier.lock")
