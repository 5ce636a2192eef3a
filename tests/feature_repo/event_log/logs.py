"""Event logs of every kind for the tests, in this process and in others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from feature_repo.event import Event
from feature_repo.event_log import EventLog, open_event_log
from feature_repo.event_log.redis import RedisEventLog
from infra.settings import Settings

KINDS = ("sqlite", "redis", "spooled")

_WRITER = """
import sys
from tests.feature_repo.event_log.logs import event, open_log
from infra.settings import Settings
log = open_log(sys.argv[1], Settings.model_validate_json(sys.argv[2]))
start, count, at_once = map(int, sys.argv[3:])
for first in range(start, start + count, at_once):
    print(sum(log.append([event(n) for n in range(first, first + at_once)])), flush=True)
"""


def event(number: int, user: str = "u") -> Event:
    return Event(event_id=str(number), user_id=user, item_id="i", event_type="view")


def ids(read: Sequence[tuple[int, Event]]) -> list[str]:
    return [found.event_id for _, found in read]


def numbers(read: Sequence[tuple[int, Event]]) -> list[int]:
    return [int(name) for name in ids(read)]


def settings_of(settings: Settings, kind: str, redis_url: str | None) -> Settings:
    """For a log of the kind."""
    stream = "sqlite" if kind == "sqlite" else "redis"
    return settings.model_copy(update={"event_stream": stream, "redis_url": redis_url, "redis_timeout_s": 5.0})


def open_log(kind: str, settings: Settings) -> EventLog:
    if kind == "redis":  # as the installation has it there is a spool before it
        assert settings.redis_url is not None
        return RedisEventLog(settings.redis_url, settings.project, settings.redis_timeout_s)
    return open_event_log(settings)


@dataclass
class OpenLog:
    """Opens one log as often as wanted."""

    kind: str
    settings: Settings
    opened: list[EventLog] = field(default_factory=list)

    def __call__(self) -> EventLog:
        log = open_log(self.kind, self.settings)
        self.opened.append(log)
        return log

    def process(self, *, start: int, count: int, at_once: int) -> subprocess.Popen[str]:
        """Another process that appends the events `start` and following and prints how many of each append were new."""
        arguments = [self.kind, self.settings.model_dump_json(), *map(str, (start, count, at_once))]
        return subprocess.Popen([sys.executable, "-c", _WRITER, *arguments], stdout=subprocess.PIPE, text=True)
