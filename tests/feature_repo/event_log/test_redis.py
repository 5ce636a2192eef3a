"""The Redis log alone: what its server does to it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGSTOP
from typing import Any

import pytest
from redis import Redis

from feature_repo.errors import EventLogDownError, EventLogFullError
from feature_repo.event_log import Place
from feature_repo.event_log.redis import RedisEventLog
from infra.ports import free_port
from tests.feature_repo.servers import own_redis, port_of, url_of

from .conftest import DURABLE
from .logs import event, ids, numbers

LATER = timedelta(hours=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with own_redis(tmp_path, *DURABLE) as running:
        yield running


@pytest.fixture
def log(server: subprocess.Popen[bytes]) -> Iterator[RedisEventLog]:
    with closing(RedisEventLog(url_of(server), "shop", 2.0)) as opened:
        yield opened


@pytest.fixture
def client(server: subprocess.Popen[bytes]) -> Iterator[Any]:
    with Redis(port=port_of(server)) as connected:
        yield connected


def test_what_was_acknowledged_outlives_a_killed_server(tmp_path: Path) -> None:
    with own_redis(tmp_path, *DURABLE) as server, closing(RedisEventLog(url_of(server), "shop", 2.0)) as log:
        for start in range(0, 500, 50):
            log.append([event(n) for n in range(start, start + 50)])
        log.mark("features", log.read(0)[99][0], since=Place())
        server.kill()
        server.wait()
        with pytest.raises(EventLogDownError, match="KAIROS_REDIS_URL"):
            log.append([event(500)])
        with own_redis(tmp_path, *DURABLE, port=port_of(server)):
            assert numbers(log.read(0)) == list(range(500))
            assert log.waiting("features") == 400
            assert log.append([event(n) for n in (499, 500)]) == [False, True]
            assert len({position for position, _ in log.read(0)}) == 501


def test_a_full_server_says_so_and_works_again_after_a_trim(log: RedisEventLog, client: Any) -> None:
    log.append([event(n) for n in range(5_000)])
    log.mark("features", log.read(0)[3_999][0], since=Place())
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    with pytest.raises(EventLogFullError, match=r"Redis at localhost:\d+, has no room.*maxmemory"):
        log.append([event(n) for n in range(5_000, 5_050)])
    assert log.last() == log.read(0)[-1][0]
    assert log.waiting("features") == 1_000
    assert log.trim(datetime.now(UTC) + LATER) == 4_000
    assert all(log.append([event(n) for n in range(5_000, 5_050)]))
    assert numbers(log.read(0)) == list(range(4_000, 5_050))


def test_a_server_that_hangs_is_given_up_in_time(server: subprocess.Popen[bytes]) -> None:
    with closing(RedisEventLog(url_of(server), "shop", 0.3)) as log:
        log.append([event(1)])
        server.send_signal(SIGSTOP)
        for call in (lambda: log.append([event(2)]), log.last, lambda: log.wait(1, 60)):
            began = time.monotonic()
            with pytest.raises(EventLogDownError):
                call()
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("form", ["redis://me:secret@localhost:{}/0", "localhost:{},password=secret"])
def test_an_error_names_the_server_but_no_password(form: str) -> None:
    with (
        closing(RedisEventLog(form.format(port := free_port()), "shop", 0.5)) as log,
        pytest.raises(EventLogDownError, match=f"Redis at localhost:{port}") as error,
    ):
        log.append([event(1)])
    assert "secret" not in str(error.value)


def test_a_server_that_may_not_write_is_down(log: RedisEventLog, client: Any) -> None:
    log.append([event(1)])
    client.replicaof("localhost", free_port())
    with pytest.raises(EventLogDownError, match="read only replica"):
        log.append([event(2)])
    client.replicaof("no", "one")
    assert log.append([event(2)]) == [True]


def test_redis_tools_show_the_lag(log: RedisEventLog, client: Any) -> None:
    log.append([event(n) for n in range(10)])
    log.mark("features", log.read(0)[3][0], since=Place())
    log.trim(datetime.now(UTC) + LATER)
    log.append([event(n) for n in range(10, 12)])
    [group] = client.xinfo_groups("shop:event_log")
    assert (group["name"], group["lag"]) == (b"features", log.waiting("features")) == (b"features", 8)


def test_every_key_begins_with_the_project(log: RedisEventLog, client: Any) -> None:
    log.append([event(1)])
    log.rewind("features", 0)
    assert all(key.startswith(b"shop:event_log") for key in client.scan_iter())
    with closing(RedisEventLog(f"redis://localhost:{client.get_connection_kwargs()['port']}", "other", 2.0)) as other:
        assert other.read(0) == []


def test_a_script_that_the_server_forgot_is_sent_again(log: RedisEventLog, client: Any) -> None:
    log.append([event(1)])
    client.script_flush()
    assert log.append([event(1), event(2)]) == [False, True]
    assert ids(log.read(0)) == ["1", "2"]


def test_what_is_not_durable_is_told(log: RedisEventLog, client: Any) -> None:
    assert log.durability() is None
    client.config_set("appendfsync", "everysec")
    assert "set appendfsync always" in str(log.durability())
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert "set noeviction" in str(log.durability())
    client.config_set("appendonly", "no")
    assert "keeps nothing on disk" in str(log.durability())
    client.acl_setuser("default", enabled=True, nopass=True, commands=["-config"], keys=["*"])
    assert "does not tell its configuration" in str(log.durability())
