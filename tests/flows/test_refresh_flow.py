"""The refresh of the schedule keeps out of the way of who refreshes already, and where there is nothing yet."""

from __future__ import annotations

import fcntl
import logging

import pytest

from feature_repo.refresh import TURN
from flows.refresh import refresh_flow
from infra.settings import Settings


def test_without_an_event_nothing_is_done(process_home: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kairos.refresh"):
        assert refresh_flow() is None
    assert "not refreshed" in caplog.text


def test_where_a_service_refreshes_the_schedule_does_not(
    process_home: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    process_home.home.mkdir(parents=True, exist_ok=True)
    with (process_home.home / TURN).open("a") as turn, caplog.at_level(logging.WARNING, "kairos.refresh"):
        fcntl.flock(turn, fcntl.LOCK_EX)
        assert refresh_flow() is None
    assert "not refreshed" not in caplog.text
