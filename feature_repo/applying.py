"""Events on their way from the log to the online features: read, applied, marked, in micro-batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from feature_repo.clock import Clock
from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, EventLog, open_event_log, trim_old
from feature_repo.store import Features
from feature_repo.store_errors import EVENT_ERRORS, STORE_ERRORS
from feature_repo.stream import StreamPath
from infra.settings import Settings

BATCH: Final = 250
"""Events applied in one go: more would be applied faster, and be seen later."""
LOOK_EVERY_S: Final = 1.0
"""How long a place that was set back, as by a materialisation, may go unnoticed."""
PAUSE_S: Final = 1.0
"""Between two tries while the store or the log is down."""

TRIM_EVERY_S: Final = 3_600.0

Tell = Callable[[dict[str, Any]], None]
"""Takes one of
`{"position": p, "events": n, "seconds": s}`: the features know the events up to `p`; the last `n` took `s`,
`{"unappliable": why}`: an event was left to the batch path,
`{"trouble": why}`: nothing goes on until it is over, which an empty one says."""


class FeatureApplier:
    """Gives the online features what they do not know yet. One per installation at a time; opens things when needed."""

    def __init__(self, config: Settings, tell: Tell) -> None:
        self._config = config
        self._tell = tell
        self._clock = Clock.of(config)
        self._log: EventLog | None = None
        self._features: Features | None = None
        self._path: StreamPath | None = None
        self._told: int | None = None
        self._last = (0, 0.0)

    def step(self, wait_s: float = LOOK_EVERY_S) -> None:
        """Apply the next micro-batch, after waiting for it if need be.

        Raises:
            STORE_ERRORS: the store or the log is down; nothing is lost, and doing it again is harmless.
        """
        log, path = self.open()
        place = log.place(FEATURES_CONSUMER)
        if place.position != self._told:
            events, seconds = self._last
            self._tell({"position": place.position, "events": events, "seconds": seconds})
            self._told, self._last = place.position, (0, 0.0)
        arrived = log.read(place.position, BATCH)
        if not arrived:
            log.wait(place.position, wait_s)
            return
        began = time.perf_counter()
        self._apply(path, [event for _, event in arrived])
        log.mark(FEATURES_CONSUMER, arrived[-1][0], since=place)
        self._last = (len(arrived), time.perf_counter() - began)

    def open(self) -> tuple[EventLog, StreamPath]:
        """Whatever is not open yet.

        Raises:
            STORE_ERRORS: something is down, or Feast knows no features yet.
        """
        if self._log is None:
            self._log = open_event_log(self._config)
        if self._features is None:
            self._features = Features.open(self._config)
        if self._path is None:
            self._features.feast.refresh_registry()
            self._path = StreamPath(self._features)
        return self._log, self._path

    def _apply(self, path: StreamPath, events: Sequence[Event]) -> None:
        try:
            path.apply(events, self._clock.now())
        except EVENT_ERRORS as error:
            if len(events) == 1:
                # Not the error's text, which may quote what a person did.
                self._tell({"unappliable": f"{events[0].event_id} ({type(error).__name__})"})
                return
            # One event that no expression can digest must not hold up the others, nor all that come after it.
            half = len(events) // 2
            self._apply(path, events[:half])
            self._apply(path, events[half:])


def keep_trimming(config: Settings) -> NoReturn:
    """Let old events go, every hour; if the log is down, an hour later."""
    while True:
        with suppress(EventLogDownError, EventLogFullError), closing(open_event_log(config)) as log:
            trim_old(log, config, datetime.now(UTC))
        time.sleep(TRIM_EVERY_S)


def keep_applying(applier: FeatureApplier, take_turn: Callable[[], None], tell: Tell) -> NoReturn:
    """Apply for ever; while something is down, try again after a pause.

    Args:
        take_turn: returns when this process is the one that applies.
    """
    trouble = False
    while True:
        try:
            take_turn()
            applier.step()
        except STORE_ERRORS as error:
            if not trouble:
                tell({"trouble": f"{type(error).__name__}: {error}"})
            trouble = True
            time.sleep(PAUSE_S)
        else:
            if trouble:
                tell({"trouble": ""})
            trouble = False
