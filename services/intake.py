"""Events on their way in: checked, made durable, applied to the features, in this order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from feature_repo import schema as s
from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, EventLog
from services.clock import Clock
from services.errors import NotDurableError, StoreDownError
from services.messages import EventsAnswer, EventsRequest
from services.metrics import EVENTS, FAILURES, WAITING, stage
from services.online import OnlineFeatures

log = logging.getLogger("bentoml.kairos.intake")

BATCH = 200
"""Events applied in one go: few enough that an answer's patience is looked at in time."""
CATCH_UP_WITHIN_S = 5.0
"""An answer does not wait longer for the features, however many events wait before its own."""
LOOK_EVERY_S = 1.0


class Intake:
    """Takes events. The log is the truth: whatever the features miss is applied from there later."""

    def __init__(self, events: EventLog, online: OnlineFeatures, clock: Clock) -> None:
        self._log = events
        self._online = online
        self._clock = clock
        self._applying = asyncio.Lock()
        self.applied = 0
        """Position in the log up to which the features know the events."""

    async def accept(self, request: EventsRequest) -> EventsAnswer:
        """Make the events durable, and the features know them if the store is there.

        Raises:
            ValidationError: a timestamp is in the future or before 1970.
            NotDurableError: the log cannot be written.
        """
        _check_times(request, self._clock.latest())
        now = self._clock.now()
        # A microsecond apart: events of one batch happened in its order.
        events = [event.at(now + timedelta(microseconds=index)) for index, event in enumerate(request.events)]
        try:
            with stage("append"):
                new = await asyncio.to_thread(self._log.append, events)
        except (EventLogDownError, EventLogFullError) as error:
            FAILURES.labels("event_log").inc()
            log.error("the event log cannot be written: %s", error)
            raise NotDurableError("the events could not be made durable; send them again") from error
        EVENTS.labels("accepted").inc(sum(new))
        EVENTS.labels("duplicate").inc(len(events) - sum(new))
        updated = await self.catch_up()
        return EventsAnswer(accepted=sum(new), duplicates=len(events) - sum(new), features_updated=updated)

    async def waiting(self) -> int:
        """Durable events that the features do not know yet."""
        return await asyncio.to_thread(self._log.waiting, FEATURES_CONSUMER)

    async def catch_up(self) -> bool:
        """Apply what the features do not know yet, in the order of arrival.

        Requests that wait here for one another have their events applied together by the first.

        Returns:
            Whether nothing is left; False if the store is down or too much was waiting.
        """
        until = time.monotonic() + CATCH_UP_WITHIN_S
        async with self._applying:
            while time.monotonic() < until:
                place = await asyncio.to_thread(self._log.place, FEATURES_CONSUMER)
                self.applied = place.position
                read = await asyncio.to_thread(self._log.read, place.position, BATCH)
                if not read:
                    return True
                events, position = [event for _, event in read], read[-1][0]
                try:
                    await self._apply(events)
                except StoreDownError:
                    return False
                await asyncio.to_thread(self._log.mark, FEATURES_CONSUMER, position, since=place)
                self.applied = position
                if len(events) < BATCH:
                    return True
        return False

    async def _apply(self, events: Sequence[Event]) -> None:
        try:
            await self._online.apply(events, self._clock.now())
        except (ValueError, ArithmeticError, LookupError) as error:
            if len(events) > 1:
                # One event that no expression can digest must not hold up all that come after it.
                for event in events:
                    await self._apply([event])
                return
            FAILURES.labels("unappliable_event").inc()
            log.error("an event cannot be applied and is left to the batch path: %s: %s", type(error).__name__, error)

    async def keep_up(self) -> None:
        """Apply what the features missed, until cancelled: after a start, a failed store, or a new materialisation."""
        while True:
            try:
                waiting = await self.waiting()
                WAITING.set(waiting)
                if waiting:
                    await self.catch_up()
            except (EventLogDownError, EventLogFullError) as error:
                FAILURES.labels("event_log").inc()
                log.error("the event log cannot be read: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)


def _check_times(request: EventsRequest, latest: datetime) -> None:
    errors: list[InitErrorDetails] = []
    for index, event in enumerate(request.events):
        if event.timestamp is None or s.BEGINNING <= event.timestamp <= latest + s.CLOCK_SKEW:
            continue
        what = "is in the future" if event.timestamp > latest else "is before 1970"
        expected = f"expected a moment not later than now, which is {latest:%Y-%m-%dT%H:%M:%SZ}"
        errors.append(
            {
                "type": PydanticCustomError("timestamp_out_of_range", f"{what}; {expected}"),
                "loc": (index, s.TIMESTAMP) if request.is_batch else (s.TIMESTAMP,),
                "input": None,
            }
        )
    if errors:
        EVENTS.labels("refused").inc(len(request.events))
        raise ValidationError.from_exception_data("EventsRequest", errors, hide_input=True)
