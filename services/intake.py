"""Events on their way in: checked, made durable, acknowledged once the features know them or a moment has passed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from feature_repo import schema as s
from feature_repo.clock import Clock
from services.errors import BadInputError, ServiceError, ThrottledError
from services.group_commit import GroupCommit
from services.messages import EventsAnswer, EventsRequest
from services.metrics import EVENTS, stage
from services.progress import Progress

KNOWN_WITHIN_S: Final = 0.05
"""An answer waits no longer for the features. What waits before its own events does not hold it up."""


class Intake:
    """Takes events. The log is the truth: whatever the features miss is applied from there later."""

    def __init__(self, commit: GroupCommit, progress: Progress, clock: Clock, max_waiting: int) -> None:
        """
        Args:
            max_waiting: events that may wait for the features before more are refused.
        """
        self._commit = commit
        self._progress = progress
        self._clock = clock
        self._max_waiting = max_waiting

    @property
    def applied(self) -> int:
        """Position in the log up to which the features know the events, or from before."""
        return self._progress.applied

    async def accept(self, request: EventsRequest) -> EventsAnswer:
        """Make the events durable, all or none, and tell whether the features know them.

        Raises:
            BadInputError: a timestamp is in the future or before 1970.
            ThrottledError, LogFullError: there is no room for them now.
            NotDurableError: the log cannot be written.
        """
        _check_times(request, self._clock.latest())
        now = self._clock.now()
        # A microsecond apart: events of one batch happened in its order.
        events = [event.at(now + timedelta(microseconds=index)) for index, event in enumerate(request.events)]
        try:
            # While nobody can tell, the log's own bounds must do: of a spool, its size.
            if self._progress.is_known and self._progress.waiting > self._max_waiting:
                raise ThrottledError("the features lag behind; send the events again later")
            written = await self._commit.append(events)
        except ServiceError as error:
            EVENTS.labels("throttled" if isinstance(error, ThrottledError) else "not_taken").inc(len(events))
            raise
        self._progress.appended(written.new)
        EVENTS.labels("accepted").inc(written.new)
        EVENTS.labels("duplicate").inc(written.duplicates)
        with stage("known"):
            updated = written.position is not None and await self._progress.until(written.position, KNOWN_WITHIN_S)
        return EventsAnswer(accepted=written.new, duplicates=written.duplicates, features_updated=updated)

    async def waiting(self) -> int:
        """Durable events that the features do not know yet."""
        return await self._progress.count()


def _check_times(request: EventsRequest, latest: datetime) -> None:
    errors: list[dict[str, Any]] = []
    for index, event in enumerate(request.events):
        if event.timestamp is None or s.BEGINNING <= event.timestamp <= latest + s.CLOCK_SKEW:
            continue
        what = "is in the future" if event.timestamp > latest else "is before 1970"
        expected = f"expected a moment not later than now, which is {latest:%Y-%m-%dT%H:%M:%SZ}"
        errors.append(
            {
                "type": "timestamp_out_of_range",
                "loc": (index, s.TIMESTAMP) if request.is_batch else (s.TIMESTAMP,),
                "msg": f"{what}; {expected}",
            }
        )
    if errors:
        EVENTS.labels("refused").inc(len(request.events))
        raise BadInputError(errors)
