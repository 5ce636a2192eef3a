"""Times and memory of a run."""

from __future__ import annotations

import time

from flows.measure import Measure, machine


def test_steps_are_timed_announced_and_added_up() -> None:
    heard: list[str] = []
    with Measure(announce=heard.append, interval_s=0.01) as measure:
        for _ in range(2):
            with measure.step("nap"):
                time.sleep(0.03)
    assert heard == ["nap", "nap"]
    assert 0.06 <= measure.seconds["nap"] <= measure.seconds["total"]
    assert measure.peak_rss_mb > 10


def test_the_machine_is_named() -> None:
    assert machine()["cores"] >= 1
