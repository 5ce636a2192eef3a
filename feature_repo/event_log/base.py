"""The durable log of arriving events: what every backend of it does. One behaviour suite holds for all of them.

- **At least once**: an event is in the log, durably, when `append` returns; who had no answer sends it again.
- **Exactly one effect**: the same `event_id` again is not appended. A consumer may be given an event twice after a
  crash; what it does with it must be harmless to repeat.
- **Order**: events of one `append` keep their order, and so do a user's events that are sent one after another.
- **Places**: consumers remember how far they have read, so that nothing between the log and the features, or the log
  and the lake, is lost by a crash. Positions are whole numbers that only grow; they need not be consecutive.
- **Retention**: `trim` drops old events, never one that a consumer which has a place still has to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from feature_repo.event import Event

FEATURES_CONSUMER: Final = "features"
INGEST_CONSUMER: Final = "ingest"


@dataclass(frozen=True)
class Place:
    """How far a consumer has read, and how often it was told to read again."""

    position: int = 0
    rewinds: int = 0


class EventLog(Protocol):
    """Append, read on, remember. Safe to use from several threads and processes. Every call blocks."""

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Make events durable, all of them or none.

        Returns:
            For each event, in order, whether it was new. Of two with one id the first counts.

        Raises:
            EventLogFullError: there is no room; nothing was appended. Trying again later may work.
            EventLogDownError: the log cannot be reached or written. Some may have been appended: send all again.
        """
        ...

    def read(self, after: int, limit: int = 10_000) -> list[tuple[int, Event]]:
        """The next events after a position, each with its own position, in order."""
        ...

    def last(self) -> int:
        """Position of the newest event; 0 in an empty log."""
        ...

    def wait(self, after: int, timeout_s: float) -> bool:
        """Block until there is an event after this position, or the time is over; returns whether there is one."""
        ...

    def place(self, consumer: str) -> Place:
        """Where the consumer is; the beginning if it was never here."""
        ...

    def mark(self, consumer: str, position: int, *, since: Place) -> None:
        """Remember that the consumer is done up to `position`, having begun at the place `since`.

        If it was rewound meanwhile, that stands: it has to read again. A mark never goes back.
        """
        ...

    def rewind(self, consumer: str, position: int) -> None:
        """Let a consumer read again what lies after `position`."""
        ...

    def waiting(self, consumer: str) -> int:
        """How many events the consumer has still to read."""
        ...

    def trim(self, before: datetime) -> int:
        """Drop events that arrived before a moment and that every consumer with a place has read; returns how many.
        Their ids are forgotten too: sent again, they count as new."""
        ...

    def forward(self) -> int:
        """Move on what this machine accepted while the log that all machines share was away; returns how many events.

        To be called about every second by each process that appends. What cannot be moved now waits for the next call.
        0 from a log that accepts nothing on its behalf.
        """
        ...

    def spooled(self) -> int:
        """How many events this machine accepted that the shared log does not have yet: nobody can read them."""
        ...

    def durability(self) -> str | None:
        """What could lose events although `append` returned, as a sentence that says what to do; None: nothing.

        Raises:
            EventLogDownError: the log cannot be reached.
        """
        ...

    def close(self) -> None: ...
