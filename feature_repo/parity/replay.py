"""A replay of real events: driven through the stream path one by one, the online rows compared after each.

The lake is cut in time. What was before is computed in batch and materialised, what came after arrives event by event.
After a user's last event of each moment every streamed view's row is read and compared with the point-in-time value of
that moment. The other views are compared where they were materialised: at the cut, and again after all has arrived.
Everything happens in a scratch copy; the installation's own stores are not touched.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import numpy as np

from feature_repo import schema as s
from feature_repo.feature import HOUR_OF_WEEK
from feature_repo.features import discover
from feature_repo.parity.arrivals import Arrival, disordered, in_time
from feature_repo.parity.compare import compare_rows, compare_up_to_date
from feature_repo.parity.offline import PAIRS_AT_ONCE, PointInTime
from feature_repo.parity.online import Observed, OnlineRows
from feature_repo.parity.report import ParityReport
from feature_repo.parity.scratch import Scratch, scratch_of
from feature_repo.store import hour_of_week
from feature_repo.stream import StreamPath
from infra.settings import Settings

ROWS_AT_ONCE: Final = 10_000
Progress = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and how much there is."""


def replay(
    settings: Settings,
    events: int,
    users: int | None = None,
    *,
    out_of_order: bool = False,
    progress: Progress = lambda step, done, of: None,
) -> ParityReport:
    """Replay the lake's newest events and compare every value of every feature.

    Args:
        events: how many, at least; all events of the first one's moment are among them.
        users: look at so many users alone; None: at all.
        out_of_order: a share of the events comes minutes to days late or twice, and the streamed views are compared
            when all has arrived, not on the way.

    Raises:
        EmptyLakeError: the lake holds no events.
        ReplayTooLongError: it holds no events before those.
        OnlineStoreDownError: the profile's online store cannot be reached.
    """
    with scratch_of(settings, events, users) as scratch:
        return _Replay(scratch, progress).run(out_of_order, np.random.default_rng(settings.seed))


class _Replay:
    def __init__(self, scratch: Scratch, progress: Progress) -> None:
        self._scratch = scratch
        self._progress = progress
        self._report = ParityReport()
        self._streamed = [feature for feature in discover().values() if feature.streamed]
        self._others = [feature for feature in discover().values() if not feature.streamed]

    def run(self, out_of_order: bool, rng: np.random.Generator) -> ParityReport:
        scratch = self._scratch
        with self._step("batch until the cut"):
            scratch.online.compute([scratch.cut])
            scratch.online.apply()
            scratch.online.materialize(scratch.cut)
            self._online = OnlineRows(scratch.online)
            self._offline = PointInTime(scratch.offline.lake, scratch.offline)
        keys = _keys(in_time(scratch.arriving))
        with self._step("compare at the cut"):
            self._compare_others(keys, scratch.cut)
        arrivals: Iterable[Arrival] = in_time(scratch.arriving)
        if out_of_order:
            arrivals = disordered(arrivals, rng)
        checks = self._stream(arrivals, len(keys[s.EVENT_ID]), at_every_moment=not out_of_order)
        for chunk in _chunks(checks, PAIRS_AT_ONCE):
            with self._step("compare on the way"):
                self._compare_streamed(chunk)
        with self._step("batch until the end"):
            scratch.all_arrived()
            newest = scratch.online.lake.newest_event()
            scratch.online.compute([newest])
            scratch.online.materialize(newest)
        with self._step("compare at the end"):
            self._compare_others(keys, newest)
            if not out_of_order:
                for users in _chunks(keys[s.USER_ID], PAIRS_AT_ONCE):
                    self._compare_streamed([self._read(user, newest) for user in users])
        return self._report

    def _stream(self, arrivals: Iterable[Arrival], events: int, *, at_every_moment: bool) -> Iterator[list[Observed]]:
        """Apply every event by itself; yields the streamed views' rows of a user when they are to be compared."""
        stream = StreamPath(self._scratch.online)
        last: dict[str, datetime] = {}
        for at, together in itertools.groupby(arrivals, key=lambda arrival: arrival.at):
            users: dict[str, datetime] = {}
            with self._step("stream"):
                for arrival in together:
                    stream.apply([arrival.event], arrival.at)
                    self._report.events += 1
                    if arrival.event.event_type != s.IMPRESSION:
                        users[arrival.event.user_id] = at
            self._progress("stream", self._report.events, max(events, self._report.events))
            if at_every_moment:
                yield from (self._read(user, at) for user in users)
            last |= users
        if not at_every_moment:
            yield from (self._read(user, at) for user, at in last.items())

    def _read(self, user: str, at: datetime) -> list[Observed]:
        return self._online.read(self._streamed, [user], at)

    def _compare_streamed(self, checks: Sequence[list[Observed]]) -> None:
        rows = [row for check in checks for row in check]
        compare_up_to_date(self._report, self._offline, rows)

    def _compare_others(self, keys: Mapping[str, Sequence[Any]], moment: datetime) -> None:
        self._offline.write_moment(self._others, moment)
        for feature in self._others:
            for part in _chunks(keys[feature.entity.join_key], ROWS_AT_ONCE):
                rows = self._online.read([feature], part, moment)
                compare_rows(self._report, self._offline, rows)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._report.seconds[name] = self._report.seconds.get(name, 0.0) + time.perf_counter() - began


def _keys(arrivals: Iterable[Arrival]) -> dict[str, list[Any]]:
    """The entities that the events touch, by join key."""
    found: dict[str, dict[Any, None]] = {s.EVENT_ID: {}, s.USER_ID: {}, s.ITEM_ID: {}, HOUR_OF_WEEK: {}}
    for arrival in arrivals:
        found[s.EVENT_ID][arrival.event.event_id] = None
        found[s.USER_ID][arrival.event.user_id] = None
        found[s.ITEM_ID][arrival.event.item_id] = None
        found[HOUR_OF_WEEK][hour_of_week(arrival.at.timestamp())] = None
    return {name: list(keys) for name, keys in found.items()}


def _chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    values = iter(values)
    while chunk := list(itertools.islice(values, size)):
        yield chunk
