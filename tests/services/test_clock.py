from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from services.clock import Clock

START = datetime(2017, 12, 31, tzinfo=UTC)


def test_the_wall_clock_by_default() -> None:
    assert abs(Clock().now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_a_replay_clock_starts_in_history_and_runs_on() -> None:
    clock = Clock(START, began=time.monotonic() - 90)
    assert timedelta(seconds=90) <= clock.now() - START < timedelta(seconds=91)
    assert clock.latest() >= datetime.now(UTC) - timedelta(seconds=1)


def test_nothing_happens_after_the_later_of_both_clocks() -> None:
    future = datetime.now(UTC) + timedelta(days=400)
    assert Clock(future).latest() >= future
