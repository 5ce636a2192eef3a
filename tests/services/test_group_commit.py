"""Batches that arrive together are written together; each learns what became of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log.redis import RedisEventLog
from feature_repo.event_log.spool import SpooledEventLog
from feature_repo.event_log.sqlite import SqliteEventLog
from services.errors import LogFullError, NotDurableError, ServiceError, ThrottledError
from services.group_commit import MAX_QUEUED, MAX_TOGETHER, GroupCommit, Written

from .conftest import NOW


class Watched(SqliteEventLog):
    """The real log; says how much was appended in one go, and fails when told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []
        self.error: Exception | None = None

    def append(self, events: Sequence[Event]) -> list[bool]:
        if self.error:
            raise self.error
        self.sizes.append(len(events))
        return super().append(events)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Watched]:
    events = Watched(tmp_path / "events.db")
    yield events
    events.close()


@pytest.fixture
async def commit(log: Watched) -> AsyncIterator[GroupCommit]:
    commit = GroupCommit(log)
    yield commit
    commit.close()


async def written(commit: GroupCommit, *batches: Sequence[Event]) -> list[Written | BaseException]:
    """What becomes of batches that all arrive before the first is written."""
    asked = [asyncio.create_task(commit.append(batch)) for batch in batches]
    await asyncio.sleep(0)
    writing = asyncio.create_task(commit.write_on())
    answers = await asyncio.gather(*asked, return_exceptions=True)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    return answers


def counts(answers: Sequence[Written | BaseException]) -> list[tuple[int, int]]:
    return [(answer.new, answer.duplicates) for answer in answers if isinstance(answer, Written)]


def events(*ids: str) -> list[Event]:
    return [Event(event_id=i, user_id="u1", item_id="i1", event_type="view", timestamp=NOW) for i in ids]


async def test_what_arrives_together_is_written_together(commit: GroupCommit, log: Watched) -> None:
    answers = await written(commit, events("a", "b"), events("c"), events("d", "e", "f"))
    assert counts(answers) == [(2, 0), (1, 0), (3, 0)]
    assert {answer.position for answer in answers if isinstance(answer, Written)} == {log.last()}
    assert log.sizes == [6]
    assert [event.event_id for _, event in log.read(0)] == list("abcdef")


async def test_of_two_requests_with_one_id_the_first_has_it(commit: GroupCommit, log: Watched) -> None:
    await written(commit, events("old"))
    answers = await written(commit, events("a", "old"), events("a", "b"), events("b", "b", "c"))
    assert counts(answers) == [(1, 1), (1, 1), (1, 2)]
    assert [event.event_id for _, event in log.read(0)] == ["old", "a", "b", "c"]


async def test_one_commit_has_its_bounds(commit: GroupCommit, log: Watched) -> None:
    batches = [events(*(f"{n}-{i}" for i in range(500))) for n in range(MAX_TOGETHER // 500 + 1)]
    await written(commit, *batches)
    assert log.sizes == [MAX_TOGETHER, 500]


async def test_more_than_may_wait_is_refused_whole(commit: GroupCommit, log: Watched) -> None:
    batches = [events(*(f"{n}-{i}" for i in range(1_000))) for n in range(MAX_QUEUED // 1_000)]
    *taken, refused = await written(commit, *batches, events("one more"))
    assert counts(taken) == [(1_000, 0)] * 10
    assert isinstance(refused, ThrottledError)
    assert len(log.read(0, 2 * MAX_QUEUED)) == MAX_QUEUED
    assert counts(await written(commit, events("one more"))) == [(1, 0)]  # there is room again


@pytest.mark.parametrize(
    ("error", "told", "status"),
    [
        (EventLogFullError("no room"), LogFullError, 429),
        (EventLogDownError("away"), NotDurableError, 503),
        (ValueError("what nobody thought of"), NotDurableError, 503),
    ],
)
async def test_a_log_that_takes_nothing_is_told_to_all_and_tried_again(
    commit: GroupCommit, log: Watched, error: Exception, told: type[ServiceError], status: int
) -> None:
    log.error = error
    answers = await written(commit, events("a"), events("b"))
    assert [type(answer) for answer in answers] == [told, told]
    assert (told.status, bool(told.retry_after_s)) == (status, True)
    log.error = None
    assert counts(await written(commit, events("a"), events("b"))) == [(1, 0), (1, 0)]


async def test_a_client_that_has_gone_does_not_disturb_the_others(commit: GroupCommit, log: Watched) -> None:
    gone = asyncio.create_task(commit.append(events("a")))
    await asyncio.sleep(0)
    gone.cancel()
    assert counts(await written(commit, events("b"))) == [(1, 0)]
    assert len(log.read(0)) == 2


async def test_what_waits_on_this_machines_disk_is_durable_but_known_to_nobody(tmp_path: Path) -> None:
    nowhere = RedisEventLog("redis://127.0.0.1:1", "test", 0.1)
    spooled = SpooledEventLog(nowhere, tmp_path / "spool.db", 10)
    commit = GroupCommit(spooled)
    assert await written(commit, events("a", "b"), events("b")) == [Written(2, 0, None), Written(0, 1, None)]
    assert spooled.spooled() == 2
    commit.close()
    spooled.close()
