"""What a consumer has still to read, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from feature_repo.event import Event
from feature_repo.event_log.base import EventLog

PIECE: Final = 10_000


def unread(log: EventLog, after: int, piece: int = PIECE) -> Iterator[list[tuple[int, Event]]]:
    """The events after a position with their own positions, in order, at most `piece` at once; never an empty list."""
    while events := log.read(after, piece):
        yield events
        after = events[-1][0]
