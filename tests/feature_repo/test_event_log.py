"""The durable log: once each, in order, remembered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_repo.event import Event
from feature_repo.event_log import EventLog, Place


def event(number: int) -> Event:
    return Event(event_id=str(number), user_id="u", item_id="i", event_type="view")


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "events.db")


def test_an_event_is_in_the_log_once(log: EventLog) -> None:
    assert log.append([event(1), event(2), event(1)]) == [event(1), event(2)]
    assert log.append([event(2), event(3)]) == [event(3)]
    assert [e.event_id for e in log.read("c")[0]] == ["1", "2", "3"]


def test_events_outlive_the_process(log: EventLog, tmp_path: Path) -> None:
    log.append([event(1)])
    log.close()
    assert EventLog(tmp_path / "events.db").read("c")[0] == [event(1)]


def test_each_consumer_has_its_own_place(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    first, position = log.read("a", limit=2)
    log.mark("a", position, since=Place())
    assert [e.event_id for e in first] == ["0", "1"]
    assert (log.waiting("a"), log.waiting("b")) == (3, 5)
    assert [e.event_id for e in log.read("a")[0]] == ["2", "3", "4"]


def test_a_mark_never_goes_back_but_a_rewind_does(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    log.mark("a", 4, since=Place())
    log.mark("a", 2, since=Place())
    assert log.waiting("a") == 1
    log.rewind("a", 0)
    assert log.waiting("a") == 5


def test_a_rewind_while_reading_stands(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    log.mark("a", 3, since=Place())
    for back in (3, 0):  # even one that changes no position: what was applied since may have been overwritten
        place = log.place("a")
        _, position = log.read("a", after=place.position)
        log.rewind("a", back)
        log.mark("a", position, since=place)
        assert log.waiting("a") == 5 - back


def test_reading_on_without_marking(log: EventLog) -> None:
    log.append([event(n) for n in range(3)])
    _, position = log.read("a", limit=2)
    assert [e.event_id for e in log.read("a", after=position)[0]] == ["2"]
    assert log.waiting("a") == 3


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    def write(part: int) -> int:
        log = EventLog(tmp_path / "events.db")
        new = sum(len(log.append([event(n)])) for n in range(part * 10, part * 10 + 30))
        log.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(4))) == 60  # 0..59, the overlaps once
    assert EventLog(tmp_path / "events.db").waiting("c") == 60
