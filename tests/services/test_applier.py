"""The process that applies events: one works, whoever starts it; and when it is gone, another does."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from feature_repo.clock import Clock
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, EventLog, open_event_log
from services.applier import Applier
from services.metrics import FAILURES, STAGES

from .conftest import NOW, Shop

THIN_BYTES = 100e6
"""A process that has not loaded Feast takes less, one that has takes four times as much."""


@asynccontextmanager
async def kept(shop: Shop, reached: Callable[[int], None] = lambda position: None) -> AsyncIterator[Applier]:
    """As a worker of the service keeps it."""
    applier = Applier(shop.settings, Clock(NOW), reached)
    keeping = asyncio.create_task(applier.keep_up())
    try:
        yield applier
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def until(true: Callable[[], bool], within_s: float = 60) -> float:
    """Wait for it; returns how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not true():
        assert loop.time() - began < within_s, "did not become true in time"
        await asyncio.sleep(0.02)
    return loop.time() - began


@pytest.fixture
def own(shop: Shop, tmp_path: Path) -> Shop:
    return shop.copy(tmp_path / "home")


@pytest.fixture
def log(own: Shop) -> EventLog:
    return open_event_log(own.settings)


def tell(log: EventLog, event_id: str) -> None:
    log.append([Event(event_id=event_id, user_id="u1", item_id="i6", event_type="view", timestamp=NOW)])


def is_applied(log: EventLog) -> bool:
    return log.waiting(FEATURES_CONSUMER) == 0


def stands_in_line(applier: Applier) -> bool:
    """Whether it has loaded everything, and applies or waits for the turn."""
    if applier.process is None:
        return False
    return any(file.path.endswith("/applier.lock") for file in psutil.Process(applier.process.pid).open_files())


async def test_what_waits_is_applied_and_a_killed_process_replaced(own: Shop, log: EventLog) -> None:
    positions: list[int] = []
    applied = STAGES.labels("apply")._sum.get()
    failed = FAILURES.labels("applier")._value.get()
    tell(log, "left by a crash")
    async with kept(own, positions.append) as applier:
        await until(lambda: is_applied(log))
        await until(lambda: positions[-1:] == [log.last()])
        assert STAGES.labels("apply")._sum.get() > applied
        assert applier.process is not None
        killed = applier.process.pid
        applier.process.send_signal(signal.SIGKILL)
        tell(log, "while it was away")
        await until(lambda: is_applied(log))
        assert FAILURES.labels("applier")._value.get() == failed + 1
        last = applier.process.pid
        assert last != killed
    assert not psutil.pid_exists(last)


async def test_a_process_that_says_other_things_is_replaced(
    own: Shop, log: EventLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once, said = tmp_path / "python", tmp_path / "said"
    lines = ("#!/bin/sh", f'[ -e {said} ] && exec {sys.executable} "$@"', f"touch {said}", "echo junk", "exec sleep 60")
    once.write_text("\n".join(lines))
    once.chmod(0o755)
    monkeypatch.setattr("services.applier.sys.executable", str(once))
    tell(log, "e1")
    async with kept(own):
        await until(lambda: is_applied(log))
    assert said.exists()


async def test_of_three_one_applies_and_the_next_takes_over_at_once(own: Shop, log: EventLog) -> None:
    told: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    async with (
        kept(own, told["a"].append) as a,
        kept(own, told["b"].append) as b,
        kept(own, told["c"].append) as c,
    ):
        appliers = {"a": a, "b": b, "c": c}
        tell(log, "first")
        await until(lambda: is_applied(log))
        await until(lambda: sum(stands_in_line(applier) for applier in appliers.values()) == 2)
        [third] = [applier.process for applier in appliers.values() if not stands_in_line(applier)]
        assert third is not None
        assert psutil.Process(third.pid).memory_info().rss < THIN_BYTES
        [first] = [name for name, positions in told.items() if positions]
        tell(log, "second")
        await until(lambda: told[first][-1] == log.last())

        process = appliers[first].process
        assert process is not None
        process.kill()
        tell(log, "third")
        assert await until(lambda: is_applied(log)) < 2
        await until(lambda: sum(bool(positions) for positions in told.values()) == 2)


async def test_it_ends_when_its_worker_does(own: Shop, log: EventLog) -> None:
    async with kept(own) as applier:
        await until(lambda: applier.process is not None)
        process = applier.process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0
