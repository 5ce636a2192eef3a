"""Events while the shared log is away: taken, kept, moved on once and in order."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event import Event
from feature_repo.event_log.redis import RedisEventLog
from feature_repo.event_log.spool import REST_S, SpooledEventLog
from feature_repo.event_log.sqlite import SqliteEventLog
from infra.ports import free_port
from tests.feature_repo.servers import own_redis

from .conftest import DURABLE
from .logs import event, ids, numbers


class Installation:
    """A Redis that comes and goes on one port, and the logs before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    def server(self) -> Iterator[subprocess.Popen[bytes]]:
        return own_redis(self.folder, *DURABLE, port=self.port)

    def shared(self) -> RedisEventLog:
        return RedisEventLog(f"redis://localhost:{self.port}/0", "shop", 0.5)

    def log(self, max_mb: float = 100) -> SpooledEventLog:
        return SpooledEventLog(self.shared(), self.folder / "spool.db", max_mb)


@pytest.fixture
def shop(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def settle(log: SpooledEventLog) -> None:
    """Forward, as the service does, until nothing is left."""
    deadline = time.monotonic() + 30
    while log.spooled():
        assert time.monotonic() < deadline
        log.forward()
        time.sleep(0.05)


def test_events_are_taken_while_redis_is_away(shop: Installation) -> None:
    with closing(shop.log()) as log:
        with shop.server():
            assert log.append([event(1)]) == [True]
            assert log.spooled() == 0
        assert log.append([event(2), event(2)]) == [True, False]
        assert (log.append([event(2), event(3)]), log.spooled()) == ([False, True], 2)
        with pytest.raises(EventLogDownError):
            log.read(0)
        with shop.server():
            log.append([event(4)])  # the spool holds something, so this waits behind it
            assert log.spooled() == 3
            settle(log)
            assert ids(log.read(0)) == ["1", "2", "3", "4"]
            log.append([event(5)])
            assert (log.spooled(), log.waiting("features")) == (0, 5)


def test_a_spool_outlives_its_process(shop: Installation) -> None:
    with closing(shop.log()) as log:
        log.append([event(1)])
    with shop.server(), closing(shop.log()) as log:
        assert log.forward() == 1
        assert ids(log.read(0)) == ["1"]


def test_a_spool_that_cannot_be_made_is_not_missed_while_redis_is_there(shop: Installation) -> None:
    nowhere = shop.folder / "file" / "spool.db"
    (shop.folder / "file").write_text("no folder")
    with shop.server(), closing(SpooledEventLog(shop.shared(), nowhere, 100)) as log:
        assert log.append([event(1)]) == [True]
        assert (log.spooled(), log.forward()) == (0, 0)


def test_a_dead_server_is_not_asked_by_every_request(shop: Installation) -> None:
    class Counting(RedisEventLog):
        tries = 0

        def append(self, events: list[Event]) -> list[bool]:  # type: ignore[override]
            Counting.tries += 1
            return super().append(events)

    shared = Counting(f"redis://localhost:{shop.port}/0", "shop", 0.5)
    with closing(SpooledEventLog(shared, shop.folder / "spool.db", 100)) as log:
        for n in range(20):
            log.append([event(n)])
            assert log.forward() == 0
        assert Counting.tries == 1
        time.sleep(REST_S)
        log.append([event(20)])
        assert Counting.tries == 1
        log.forward()
        assert Counting.tries == 2


def _fill(log: SpooledEventLog) -> None:
    for n in range(10_000):
        log.append([event(n)])


def test_a_full_spool_says_so(shop: Installation) -> None:
    with closing(shop.log(max_mb=0.2)) as log:
        with pytest.raises(EventLogFullError, match=r"spool.db has no room"):
            _fill(log)
        taken = log.spooled()
        with shop.server():
            settle(log)
            assert numbers(log.read(0)) == list(range(taken))
            assert log.append([event(taken)]) == [True]


def test_a_kill_between_the_logs_answer_and_the_removal_doubles_nothing(shop: Installation) -> None:
    with closing(shop.log()) as log:
        log.append([event(n) for n in range(10)])
    with shop.server(), closing(shop.shared()) as shared, closing(SqliteEventLog(shop.folder / "spool.db")) as spool:
        shared.append([found for _, found in spool.read(0, limit=7)])  # and killed here
        with closing(shop.log()) as log:
            log.append([event(10)])
            settle(log)
        assert numbers(shared.read(0)) == list(range(11))


def test_two_that_move_the_spool_at_once_double_nothing(shop: Installation) -> None:
    with closing(shop.log()) as first, closing(shop.log()) as second, ThreadPoolExecutor(3) as pool:
        first.append([event(n) for n in range(4_000)])
        time.sleep(REST_S)
        with shop.server():
            moved = [pool.submit(log.forward) for log in (first, second, first)]
            assert sum(done.result() for done in moved) == 4_000
            settle(second)
            assert numbers(first.read(0)) == list(range(4_000))


def test_two_that_miss_each_other_double_nothing(shop: Installation) -> None:
    """One reads the spool, is stopped, and goes on when the other has moved all of it and more has come."""
    with closing(shop.log()) as log:
        log.append([event(n) for n in range(10)])
        with (
            shop.server(),
            closing(shop.shared()) as shared,
            closing(SqliteEventLog(shop.folder / "spool.db")) as spool,
        ):
            time.sleep(REST_S)
            late = spool.read(0)
            assert log.forward() == 10
            spool.append([event(10)])
            shared.append([found for _, found in late])
            spool.remove(late[-1][0])
            assert log.spooled() == 1
            settle(log)
            assert numbers(log.read(0)) == list(range(11))


_CUSTOMER = """
import sys, time
from pathlib import Path
from threading import Thread
from feature_repo.event_log.redis import RedisEventLog
from feature_repo.event_log.spool import SpooledEventLog
from tests.feature_repo.event_log.logs import event
folder, port, user = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
log = SpooledEventLog(RedisEventLog(f"redis://localhost:{port}/0", "shop", 0.5), folder / "spool.db", 100)
def forward():
    while True:
        log.forward()
        time.sleep(0.05)
Thread(target=forward, daemon=True).start()
for n in range(user * 1_000_000, (user + 1) * 1_000_000):
    log.append([event(n, str(user))])
    print(n, flush=True)
    time.sleep(0.005)
"""


def test_redis_and_workers_are_killed_while_all_append(shop: Installation) -> None:
    """What a worker said it has is in the log once, and every user's events are in order."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _CUSTOMER, str(shop.folder), str(shop.port), str(user)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for user in range(3)
    ]
    said: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def listen(user: int) -> None:
        for line in workers[user].stdout or ():
            said[user].append(int(line))

    listeners = [Thread(target=listen, args=(user,)) for user in said]
    for listener in listeners:
        listener.start()
    started = Flag()
    try:
        while not all(said.values()):
            assert not started.wait(0.05)
            assert all(worker.poll() is None for worker in workers)
        for _ in range(3):
            with shop.server() as server:
                time.sleep(1.5)
                server.kill()
            time.sleep(0.7)
        workers[0].kill()
        with shop.server():
            time.sleep(0.5)
            for worker in workers:
                worker.kill()
            for listener in listeners:
                listener.join()
            with closing(shop.log()) as log:
                settle(log)
                found = log.read(0, limit=100_000)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert len(set(ids(found))) == len(found) == len({position for position, _ in found})
    for user, acknowledged in said.items():
        kept = [int(e.event_id) for _, e in found if e.user_id == str(user)]
        assert kept == sorted(kept)
        assert set(acknowledged) <= set(kept)
        assert len(kept) - len(acknowledged) <= 1  # killed between the append and the word
