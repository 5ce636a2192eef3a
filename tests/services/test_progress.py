"""How far the features are, as a worker sees it whose applier only waits for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, EventLog, open_event_log
from infra.settings import Settings
from services.progress import LOOK_EVERY_S, Progress

from .conftest import NOW


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    log = open_event_log(Settings(home=tmp_path))
    log.append([Event(user_id="u1", item_id=f"i{n}", event_type="view", timestamp=NOW) for n in range(3)])
    yield log
    log.close()


@pytest.fixture
async def progress(log: EventLog) -> AsyncIterator[Progress]:
    progress = Progress(log)
    watching = asyncio.create_task(progress.watch())
    yield progress
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def mark(log: EventLog, position: int) -> None:
    log.mark(FEATURES_CONSUMER, position, since=log.place(FEATURES_CONSUMER))


async def test_what_another_process_applied_is_seen_soon(log: EventLog, progress: Progress) -> None:
    waiting = asyncio.create_task(progress.until(log.last(), 5))
    await asyncio.sleep(0.1)
    mark(log, log.last())
    marked = asyncio.get_running_loop().time()
    assert await waiting
    assert asyncio.get_running_loop().time() - marked < 0.2
    assert progress.applied == log.last()


async def test_nobody_waits_longer_than_allowed(log: EventLog, progress: Progress) -> None:
    began = asyncio.get_running_loop().time()
    assert not await progress.until(log.last(), 0.05)
    assert 0.05 <= asyncio.get_running_loop().time() - began < 0.2


async def test_a_place_that_was_set_back_is_noticed(log: EventLog, progress: Progress) -> None:
    mark(log, log.last())
    assert await progress.until(log.last(), 5)
    log.rewind(FEATURES_CONSUMER, 1)
    await asyncio.sleep(1.2 * LOOK_EVERY_S)
    assert progress.applied == 1
    assert await progress.count() == 2
