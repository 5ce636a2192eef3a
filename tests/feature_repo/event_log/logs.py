"""Event logs of every kind for the tests, in this process and in others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from feature_repo.event import Event
from feature_repo.event_log import EventLog, open_event_log
from infra.settings import Settings

_WRITER = """
import sys
from feature_repo.event import Event
from infra.settings import Settings
{open}
start, count, at_once = map(int, sys.argv[2:])
new = 0
for first in range(start, start + count, at_once):
    new += sum(log.append([
        Event(event_id=str(n), user_id="u", item_id="i", event_type="view") for n in range(first, first + at_once)
    ]))
print(new)
"""
_OPEN = {
    "sqlite": """
from feature_repo.event_log import open_event_log
log = open_event_log(Settings.model_validate_json(sys.argv[1]))
""",
}


def event(number: int, user: str = "u") -> Event:
    return Event(event_id=str(number), user_id=user, item_id="i", event_type="view")


def ids(read: Sequence[tuple[int, Event]]) -> list[str]:
    return [found.event_id for _, found in read]


def numbers(read: Sequence[tuple[int, Event]]) -> list[int]:
    return [int(name) for name in ids(read)]


@dataclass
class OpenLog:
    """Opens one log as often as wanted."""

    kind: str
    settings: Settings
    opened: list[EventLog] = field(default_factory=list)

    def __call__(self) -> EventLog:
        log = open_event_log(self.settings)
        self.opened.append(log)
        return log

    def process(self, *, start: int, count: int, at_once: int) -> subprocess.Popen[str]:
        """Another process that appends the events `start` and following and prints how many were new."""
        script = _WRITER.format(open=_OPEN[self.kind])
        arguments = [self.settings.model_dump_json(), *(str(number) for number in (start, count, at_once))]
        return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
