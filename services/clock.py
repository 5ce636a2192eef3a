"""The service's now."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Clock:
    """The wall clock, or one that starts at a moment of history and runs on at the usual speed.

    A replay clock begins anew with each process: it stands at `start` when the process does.
    """

    start: datetime | None = None
    began: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """This moment, UTC."""
        if self.start is None:
            return datetime.now(UTC)
        return self.start.astimezone(UTC) + timedelta(seconds=time.monotonic() - self.began)

    def latest(self) -> datetime:
        """The later of this clock and the wall clock: nothing can have happened after it."""
        return max(self.now(), datetime.now(UTC))
