from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feature_repo.clock import Clock
from infra.settings import PROJECT_ROOT, Settings, environment

START = datetime(2017, 12, 31, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_the_wall_clock_by_default() -> None:
    assert abs(Clock().now() - datetime.now(UTC)) < SECOND


def test_a_replay_clock_starts_in_history_and_runs_on() -> None:
    clock = Clock(START, began=datetime.now(UTC) - 90 * SECOND)
    assert 90 * SECOND <= clock.now() - START < 91 * SECOND
    assert clock.latest() >= datetime.now(UTC) - SECOND


def test_nothing_happens_after_the_later_of_both_clocks() -> None:
    future = datetime.now(UTC) + timedelta(days=400)
    assert Clock(future).latest() >= future


def _now_in_a_child(environment: dict[str, str]) -> datetime:
    imports = "from feature_repo.clock import Clock; from infra.settings import settings; "
    return datetime.fromisoformat(_printed(imports + "print(Clock.of(settings()).now())", environment))


def _printed(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, cwd=PROJECT_ROOT, text=True).strip()


def test_processes_that_start_at_different_times_agree(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, clock_start=START, clock_began=datetime.now(UTC) - 3_600 * SECOND)
    here = Clock.of(config).now()
    assert timedelta() <= _now_in_a_child(environment(config)) - here < 10 * SECOND


def test_a_process_tells_its_children_when_its_clock_began(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
from infra.settings import settings
print(settings().clock_began, flush=True)
time.sleep(0.1)
child = "from infra.settings import settings; print(settings().clock_began)"
subprocess.run([sys.executable, "-c", child], check=True)
"""
    variables = environment(Settings(home=tmp_path, clock_start=START))
    ours, childs = _printed(code, variables).splitlines()
    assert ours == childs
