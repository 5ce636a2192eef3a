from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.event_log import EventLog
from infra.settings import Settings

from .logs import OpenLog


@pytest.fixture(params=["sqlite"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    opener = OpenLog(request.param, Settings(home=tmp_path))
    yield opener
    for log in opener.opened:
        log.close()


@pytest.fixture
def log(open_log: OpenLog) -> EventLog:
    return open_log()
