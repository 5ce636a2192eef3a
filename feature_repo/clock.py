"""Now, as the service and the processes beside it see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from infra.settings import Settings


@dataclass(frozen=True)
class Clock:
    """The wall clock, or one that stood at a moment of history when the wall clock showed another.

    Both moments are given from outside, so that all processes of an installation agree, and one that starts anew does
    not begin at the start again.
    """

    start: datetime | None = None
    """Where it stood; None: it is the wall clock."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    """What the wall clock showed then."""

    @classmethod
    def of(cls, config: Settings) -> Clock:
        return cls(config.clock_start, config.clock_began or datetime.now(UTC))

    def now(self) -> datetime:
        """This moment, UTC."""
        if self.start is None:
            return datetime.now(UTC)
        return self.start.astimezone(UTC) + (datetime.now(UTC) - self.began)

    def latest(self) -> datetime:
        """The later of this clock and the wall clock: nothing can have happened after it."""
        return max(self.now(), datetime.now(UTC))
