"""Events: durable before they are acknowledged, in the features soon after, and made up for if that failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_repo.applying import FeatureApplier
from feature_repo.clock import Clock
from feature_repo.errors import EventLogDownError, FeatureError
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, EventLog, open_event_log
from feature_repo.stream import StreamPath
from services.errors import BadInputError, ThrottledError
from services.group_commit import GroupCommit
from services.intake import Intake
from services.messages import EventsAnswer, EventsRequest
from services.metrics import EVENTS
from services.online import OnlineFeatures
from services.progress import Progress

from .conftest import NOW, Shop, broken_store

MAX_WAITING = 10


@dataclass
class Parts:
    shop: Shop
    log: EventLog
    online: OnlineFeatures
    intake: Intake
    told: list[dict[str, Any]] = field(default_factory=list)

    async def session(self, user: str) -> list[str]:
        row = await self.online.row(user, ["session:session_items"], NOW, within_s=10)
        return list(row.values["session_items"] or [])

    @contextmanager
    def applying(self) -> Iterator[None]:
        """The applier works, in a thread, as in its process."""
        applier = FeatureApplier(self.shop.settings, self.told.append)
        applier.open()
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                try:
                    applier.step(0.01)
                except FeatureError:
                    ended.wait(0.05)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    async def until_applied(self) -> None:
        async with asyncio.timeout(10):
            while await self.intake.waiting():
                await asyncio.sleep(0.02)


@pytest.fixture
async def parts(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    # The answers tell what they find; how long they wait for it is no matter of a busy machine.
    monkeypatch.setattr("services.intake.KNOWN_WITHIN_S", 5.0)
    copy = shop.copy(tmp_path / "home")
    log, online = open_event_log(copy.settings), OnlineFeatures(copy.settings)
    commit, progress = GroupCommit(log), Progress(log)
    work = [asyncio.create_task(commit.write_on()), asyncio.create_task(progress.watch())]
    yield Parts(copy, log, online, Intake(commit, progress, Clock(NOW), MAX_WAITING))
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    await online.close()
    commit.close()
    log.close()


@pytest.fixture
def impatient(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:  # after what makes them patient
    monkeypatch.setattr("services.intake.KNOWN_WITHIN_S", 0.05)


def _events(*items: str, user: str = "u1", at: datetime | None = None) -> EventsRequest:
    return EventsRequest(
        [
            Event(event_id=f"{user}-{item}", user_id=user, item_id=item, event_type="view", timestamp=at)
            for item in items
        ]
    )


async def test_an_event_is_durable_and_known_at_once(parts: Parts) -> None:
    with parts.applying():
        answer = await parts.intake.accept(_events("i6", "i7"))
    assert answer == EventsAnswer(accepted=2, duplicates=0, features_updated=True)
    assert (await parts.session("u1"))[-2:] == ["i6", "i7"]
    assert parts.log.waiting(FEATURES_CONSUMER) == 0
    assert parts.intake.applied == parts.log.last()
    assert sum(told.get("events", 0) for told in parts.told) == 2


async def test_sending_again_changes_nothing(parts: Parts) -> None:
    with parts.applying():
        await parts.intake.accept(_events("i6"))
        before = await parts.session("u1")
        answer = await parts.intake.accept(_events("i6"))
    assert answer == EventsAnswer(accepted=0, duplicates=1, features_updated=True)
    assert await parts.session("u1") == before


@pytest.mark.usefixtures("impatient")
async def test_the_time_of_arrival_is_kept(parts: Parts) -> None:
    await parts.intake.accept(_events("i6"))
    [(_, event)] = parts.log.read(0)
    assert event.timestamp is not None
    assert timedelta() <= event.timestamp - NOW < timedelta(minutes=1)


async def test_many_at_once_lose_nothing(parts: Parts) -> None:
    with parts.applying():
        answers = await asyncio.gather(*(parts.intake.accept(_events(f"i{n}", user="new")) for n in range(20)))
    assert all(answer.features_updated for answer in answers)
    assert sorted(await parts.session("new")) == sorted(f"i{n}" for n in range(20))


@pytest.mark.parametrize("at", [timedelta(minutes=6), datetime(1, 1, 1, tzinfo=UTC)])
async def test_impossible_times_are_refused_by_name(parts: Parts, at: datetime | timedelta) -> None:
    if isinstance(at, timedelta):
        at += datetime.now(UTC)
    with pytest.raises(BadInputError) as refused:
        await parts.intake.accept(_events("i6", at=at))
    [error] = refused.value.details
    assert error["loc"] == (0, "timestamp")
    assert "expected a moment not later than" in error["msg"]
    assert parts.log.last() == 0


@pytest.mark.usefixtures("impatient")
async def test_a_clock_slightly_ahead_is_fine(parts: Parts) -> None:
    assert (await parts.intake.accept(_events("i6", at=datetime.now(UTC) + timedelta(minutes=4)))).accepted == 1


@pytest.mark.usefixtures("impatient")
async def test_a_broken_store_is_made_up_for(parts: Parts) -> None:
    with parts.applying():
        with broken_store(parts.shop.settings):
            answer = await parts.intake.accept(_events("i6"))
            assert answer == EventsAnswer(accepted=1, duplicates=0, features_updated=False)
            assert await parts.intake.waiting() == 1
        await parts.until_applied()
    assert (await parts.session("u1"))[-1] == "i6"


@pytest.mark.usefixtures("impatient")
async def test_while_nothing_is_applied_events_are_taken_up_to_a_bound(parts: Parts) -> None:
    for n in range(2):
        answer = await parts.intake.accept(_events(*(f"i{n}-{i}" for i in range(MAX_WAITING))))
        assert (answer.accepted, answer.features_updated) == (MAX_WAITING, False)
    throttled = EVENTS.labels("throttled")._value.get()
    with pytest.raises(ThrottledError) as refused:
        await parts.intake.accept(_events("one", "too", "many"))
    assert (refused.value.status, refused.value.retry_after_s) == (429, 2)
    assert EVENTS.labels("throttled")._value.get() == throttled + 3
    assert len(parts.log.read(0)) == 2 * MAX_WAITING
    with parts.applying():
        await parts.until_applied()
        assert (await parts.intake.accept(_events("one", "too", "many"))).accepted == 3


@pytest.mark.usefixtures("impatient")
async def test_while_nobody_can_tell_what_waits_the_logs_own_bound_must_do(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> int:
        raise EventLogDownError("away")

    await parts.intake.accept(_events(*(f"i{n}" for n in range(MAX_WAITING + 1))))
    monkeypatch.setattr(type(parts.log), "waiting", away)
    await parts.intake.waiting()
    assert (await parts.intake.accept(_events("one", "more"))).accepted == 2


async def test_one_indigestible_event_does_not_hold_up_the_others(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = StreamPath.apply

    def picky(self: StreamPath, events: Sequence[Event], now: datetime) -> None:
        if any(event.item_id == "i7" for event in events):
            raise ValueError("out of bounds")
        apply(self, events, now)

    monkeypatch.setattr(StreamPath, "apply", picky)
    with parts.applying():
        await parts.intake.accept(_events("i6", "i7", "i8", "i9"))
    assert (await parts.session("u1"))[-3:] == ["i6", "i8", "i9"]
    assert await parts.intake.waiting() == 0
    [told] = [line["unappliable"] for line in parts.told if "unappliable" in line]
    assert told.endswith(" (ValueError)")
    assert "out of bounds" not in told  # which may quote what a person did
