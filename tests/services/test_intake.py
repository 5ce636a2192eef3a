"""Events: durable before they are acknowledged, in the features before the answer, and made up for if that failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from feature_repo.clock import Clock
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, EventLog
from services.intake import Intake
from services.messages import EventsAnswer, EventsRequest
from services.online import REST_S, OnlineFeatures

from .conftest import NOW, Shop, broken_store


@dataclass
class Parts:
    shop: Shop
    log: EventLog
    online: OnlineFeatures
    intake: Intake

    async def session(self, user: str) -> list[str]:
        row = await self.online.row(user, ["session:session_items"], NOW, within_s=10)
        return list(row.values["session_items"] or [])


@pytest.fixture
async def parts(shop: Shop, tmp_path: Path) -> AsyncIterator[Parts]:
    copy = shop.copy(tmp_path / "home")
    log, online = EventLog(copy.settings.event_log), OnlineFeatures(copy.settings)
    yield Parts(copy, log, online, Intake(log, online, Clock(NOW)))
    await online.close()
    log.close()


def _events(*items: str, user: str = "u1", at: datetime | None = None) -> EventsRequest:
    return EventsRequest(
        [
            Event(event_id=f"{user}-{item}", user_id=user, item_id=item, event_type="view", timestamp=at)
            for item in items
        ]
    )


async def test_an_event_is_durable_and_known_at_once(parts: Parts) -> None:
    answer = await parts.intake.accept(_events("i6", "i7"))
    assert answer == EventsAnswer(accepted=2, duplicates=0, features_updated=True)
    assert (await parts.session("u1"))[-2:] == ["i6", "i7"]
    assert parts.log.waiting(FEATURES_CONSUMER) == 0


async def test_sending_again_changes_nothing(parts: Parts) -> None:
    await parts.intake.accept(_events("i6"))
    before = await parts.session("u1")
    answer = await parts.intake.accept(_events("i6"))
    assert answer == EventsAnswer(accepted=0, duplicates=1, features_updated=True)
    assert await parts.session("u1") == before


async def test_the_time_of_arrival_is_kept(parts: Parts) -> None:
    await parts.intake.accept(_events("i6"))
    [event], _ = parts.log.read("somebody else")
    assert event.timestamp is not None
    assert timedelta() <= event.timestamp - NOW < timedelta(minutes=1)


async def test_many_at_once_lose_nothing(parts: Parts) -> None:
    answers = await asyncio.gather(*(parts.intake.accept(_events(f"i{n}", user="new")) for n in range(20)))
    assert all(answer.features_updated for answer in answers)
    assert sorted(await parts.session("new")) == sorted(f"i{n}" for n in range(20))


@pytest.mark.parametrize("at", [timedelta(minutes=6), datetime(1, 1, 1, tzinfo=UTC)])
async def test_impossible_times_are_refused_by_name(parts: Parts, at: datetime | timedelta) -> None:
    if isinstance(at, timedelta):
        at += datetime.now(UTC)
    with pytest.raises(ValidationError) as refused:
        await parts.intake.accept(_events("i6", at=at))
    [error] = refused.value.errors()
    assert error["loc"] == (0, "timestamp")
    assert "expected a moment not later than" in error["msg"]
    assert parts.log.waiting(FEATURES_CONSUMER) == 0


async def test_a_clock_slightly_ahead_is_fine(parts: Parts) -> None:
    assert (await parts.intake.accept(_events("i6", at=datetime.now(UTC) + timedelta(minutes=4)))).accepted == 1


async def test_a_broken_store_is_made_up_for(parts: Parts) -> None:
    with broken_store(parts.shop.settings):
        answer = await parts.intake.accept(_events("i6"))
        assert answer == EventsAnswer(accepted=1, duplicates=0, features_updated=False)
        assert await parts.intake.waiting() == 1
    await asyncio.sleep(REST_S)
    keeping_up = asyncio.create_task(parts.intake.keep_up())
    while await parts.intake.waiting():
        await asyncio.sleep(0.05)
    keeping_up.cancel()
    assert (await parts.session("u1"))[-1] == "i6"


async def test_what_a_crash_left_is_applied_after_the_start(parts: Parts) -> None:
    parts.log.append([event.at(NOW) for event in _events("i6").events])
    assert await parts.intake.catch_up()
    assert (await parts.session("u1"))[-1] == "i6"


async def test_one_indigestible_event_does_not_hold_up_the_others(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = OnlineFeatures.apply

    async def picky(self: OnlineFeatures, events: Sequence[Event], now: datetime) -> None:
        if any(event.item_id == "i7" for event in events):
            raise ValueError("out of bounds")
        await apply(self, events, now)

    monkeypatch.setattr(OnlineFeatures, "apply", picky)
    await parts.intake.accept(_events("i6", "i7", "i8"))
    assert (await parts.session("u1"))[-2:] == ["i6", "i8"]
    assert await parts.intake.waiting() == 0
