"""What every event log does, whatever keeps it: once each, in order, remembered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Timer

from feature_repo.event_log import EventLog, Place, unread

from .logs import OpenLog, event, ids, numbers

LATER = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def test_an_event_is_in_the_log_once(log: EventLog) -> None:
    assert log.append([event(1), event(2), event(1)]) == [True, True, False]
    assert log.append([event(2), event(3)]) == [False, True]
    assert ids(log.read(0)) == ["1", "2", "3"]
    assert log.append([]) == []


def test_of_two_with_one_id_the_first_counts(log: EventLog) -> None:
    log.append([event(1, "a"), event(1, "b")])
    log.append([event(1, "c")])
    assert [e.user_id for _, e in log.read(0)] == ["a"]


def test_an_event_comes_out_as_it_went_in(log: EventLog) -> None:
    whole = event(1).model_copy(update={"context": {"page": "ü\n\x00"}, "price": 0.1, "timestamp": now()})
    log.append([whole])
    assert [e for _, e in log.read(0)] == [whole]


def test_events_outlive_the_log(log: EventLog, open_log: OpenLog) -> None:
    log.append([event(1)])
    log.close()
    assert ids(open_log().read(0)) == ["1"]


def test_an_empty_log(log: EventLog) -> None:
    assert (log.last(), log.read(0), log.place("c"), log.waiting("c")) == (0, [], Place(), 0)
    assert log.trim(now() + LATER) == 0
    assert not log.wait(0, 0.0)


def test_positions_grow_and_reading_goes_on_from_any(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    positions = [position for position, _ in log.read(0)]
    assert positions == sorted(set(positions))
    assert positions[0] > 0
    assert log.last() == positions[-1]
    assert log.read(positions[1], limit=2) == log.read(0)[2:4]
    assert log.read(log.last()) == []
    assert [ids(piece) for piece in unread(log, positions[0], 3)] == [["1", "2", "3"], ["4"]]


def test_many_at_once(log: EventLog) -> None:
    many = [event(n) for n in range(5_000)]
    assert all(log.append(many))
    assert not any(log.append(many[:2_500]))
    assert log.waiting("c") == 5_000
    assert numbers(log.read(0)) == list(range(5_000))


def test_each_consumer_has_its_own_place(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    position = log.read(0, limit=2)[-1][0]
    log.mark("a", position, since=Place())
    assert (log.waiting("a"), log.waiting("b")) == (3, 5)
    assert log.place("a") == Place(position)
    assert ids(log.read(log.place("a").position)) == ["2", "3", "4"]


def test_a_mark_never_goes_back_but_a_rewind_does(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    positions = [position for position, _ in log.read(0)]
    log.mark("a", positions[3], since=Place())
    log.mark("a", positions[1], since=Place())
    assert log.waiting("a") == 1
    log.rewind("a", positions[4])  # nothing to go back to
    assert log.waiting("a") == 1
    log.rewind("a", 0)
    assert log.waiting("a") == 5


def test_a_rewind_while_reading_stands(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    positions = [position for position, _ in log.read(0)]
    log.mark("a", positions[2], since=Place())
    for back in (3, 0):  # even one that changes no position: what was applied since may have been overwritten
        place = log.place("a")
        log.rewind("a", positions[back - 1] if back else 0)
        log.mark("a", positions[4], since=place)
        assert log.waiting("a") == 5 - back


def test_a_rewind_before_the_first_mark_stands(log: EventLog) -> None:
    log.append([event(1)])
    begun = log.place("a")
    log.rewind("a", 0)
    log.mark("a", log.last(), since=begun)
    assert log.waiting("a") == 1


def test_places_outlive_the_log(log: EventLog, open_log: OpenLog) -> None:
    log.append([event(1)])
    log.rewind("a", 0)
    log.mark("a", log.last(), since=log.place("a"))
    place = log.place("a")
    assert place == Place(log.last(), 1)
    log.close()
    assert open_log().place("a") == place


def test_waiting_ends_soon_after_an_event_came(log: EventLog, open_log: OpenLog) -> None:
    other = open_log()
    log.append([event(1)])
    assert log.wait(0, 0.0)
    began, last = time.monotonic(), log.last()
    assert not log.wait(last, 0.2)
    assert 0.15 < time.monotonic() - began < 2
    Timer(0.3, other.append, [[event(2)]]).start()
    began = time.monotonic()
    assert log.wait(last, 10)
    assert time.monotonic() - began < 2


def test_a_trim_keeps_what_somebody_has_still_to_read(log: EventLog) -> None:
    log.append([event(n) for n in range(5)])
    positions = [position for position, _ in log.read(0)]
    log.mark("a", positions[3], since=Place())
    log.mark("b", positions[1], since=Place())
    assert log.trim(now() - LATER) == 0
    assert log.trim(now() + LATER) == 2
    assert ids(log.read(0)) == ["2", "3", "4"]
    assert (log.waiting("a"), log.waiting("b"), log.waiting("new")) == (1, 3, 3)
    log.rewind("b", 0)
    assert log.waiting("b") == 3
    assert log.trim(now() + LATER) == 0


def test_a_trim_takes_the_older_alone(log: EventLog) -> None:
    log.append([event(1)])
    time.sleep(0.02)
    between = now()
    time.sleep(0.02)
    log.append([event(2)])
    assert log.trim(between) == 1
    assert ids(log.read(0)) == ["2"]


def test_a_trim_forgets_the_ids_but_no_position_comes_again(log: EventLog) -> None:
    log.append([event(n) for n in range(3)])
    last = log.last()
    log.mark("a", last, since=Place())
    assert log.trim(now() + LATER) == 3
    assert (log.read(0), log.waiting("a")) == ([], 0)
    assert log.append([event(1)]) == [True]
    assert log.last() > last
    assert log.waiting("a") == 1
    assert ids(log.read(last)) == ["1"]


def test_many_are_trimmed_too(log: EventLog) -> None:
    log.append([event(n) for n in range(12_000)])
    assert log.waiting("a") == 12_000
    assert log.trim(now() + LATER) == 12_000
    assert log.read(0) == []


def test_processes_that_append_at_once_lose_nothing(log: EventLog, open_log: OpenLog) -> None:
    """Four, each of which sends half of the next one's events too."""
    writers = [open_log.process(start=100 * n, count=200, at_once=10) for n in range(4)]
    assert sum(int(line) for writer in writers for line in writer.communicate(timeout=120)[0].split()) == 500
    assert sorted(numbers(log.read(0))) == list(range(500))
    for start in range(0, 500, 10):  # an append's events stay together in their order, or were there before
        found = [n for n in numbers(log.read(0)) if start <= n < start + 10]
        assert found == sorted(found)


def test_threads_that_append_at_once_lose_nothing(log: EventLog) -> None:
    with ThreadPoolExecutor(4) as pool:
        new = pool.map(lambda part: sum(log.append([event(n) for n in range(part * 10, part * 10 + 30)])), range(4))
    assert sum(new) == 60  # 0..59, the overlaps once
    assert log.waiting("c") == 60
