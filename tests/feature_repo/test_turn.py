"""One at a time, whatever keeps the turn: the same for both kinds."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from feature_repo.lease import LEASE_S, Lease
from feature_repo.turn import FileTurn, Turn
from infra.settings import PROJECT_ROOT

from .servers import redis_project

Kind = tuple[Callable[[], Turn], str]
"""What makes a turn, and the code that does so in another process."""


@pytest.fixture(params=["file", "lease"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "file":
        path = tmp_path / "turn.lock"
        yield lambda: FileTurn(path), f"from feature_repo.turn import *; turn = FileTurn(Path({str(path)!r}))"
        return
    key = f"test_{uuid.uuid4().hex}"
    with redis_project(key) as url, Redis.from_url(url) as redis:
        code = f"from feature_repo.lease import *; turn = Lease(Redis.from_url({url!r}), {key!r})"
        yield lambda: Lease(redis, key), code


def taking(turn: Turn) -> threading.Event:
    """Set once it is taken."""
    taken = threading.Event()
    threading.Thread(target=lambda: (turn.take(), taken.set()), daemon=True).start()
    return taken


def test_the_second_waits_until_the_first_gives_it_back(kind: Kind) -> None:
    first, second = kind[0](), kind[0]()
    first.take()
    first.take()
    taken = taking(second)
    assert not taken.wait(LEASE_S + 0.5)  # longer than a lease lasts that nobody renews
    first.give_back()
    assert taken.wait(2)
    second.give_back()
    second.give_back()


def test_it_can_be_taken_again(kind: Kind) -> None:
    turn = kind[0]()
    for _ in range(2):
        assert taking(turn).wait(2)
        other = kind[0]()
        taken = taking(other)
        assert not taken.wait(0.3)
        turn.give_back()
        assert taken.wait(2)
        other.give_back()


def test_it_goes_on_within_two_seconds_after_its_owner_was_killed(kind: Kind) -> None:
    code = kind[1] + "; turn.take(); print('taken', flush=True); import time; time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"taken\n"
    ours = kind[0]()
    taken = taking(ours)
    assert not taken.wait(0.3)
    owner.kill()
    killed = time.monotonic()
    owner.wait()
    assert taken.wait(5)
    assert time.monotonic() - killed < 2
    ours.give_back()
