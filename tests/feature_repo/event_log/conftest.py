from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.event_log import EventLog
from infra.settings import Settings
from tests.feature_repo.servers import own_redis, url_of

from .logs import KINDS, OpenLog, settings_of

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(scope="session")
def durable_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis that syncs every write to its disk; whoever uses it needs a project of its own."""
    with own_redis(tmp_path_factory.mktemp("redis"), *DURABLE) as server:
        yield url_of(server)


@pytest.fixture(params=KINDS)
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    settings = Settings(home=tmp_path, project=f"test_{uuid.uuid4().hex[:12]}")
    url = None if request.param == "sqlite" else request.getfixturevalue("durable_redis")
    opener = OpenLog(request.param, settings_of(settings, request.param, url))
    yield opener
    for log in opener.opened:
        log.close()


@pytest.fixture
def log(open_log: OpenLog) -> EventLog:
    return open_log()
