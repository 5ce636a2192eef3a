"""A challenger's real service, beside the home of the one that works."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from flows import serving, trial
from flows.errors import ServeError
from flows.gate import judge
from flows.pipeline import PipelineReport
from flows.trial import try_over_http
from infra.settings import PROJECT_ROOT, Settings
from models.gate import GateConfig

LIMITS = GateConfig(asked=20)
USERS = [str(number) for number in range(1, 21)]


def files(config: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in config.home.rglob("*") if path.is_file()}


def running_in(folder: Path) -> list[psutil.Process]:
    """What runs in a home under a folder."""
    found = psutil.process_iter(["environ"])
    return [each for each in found if str(folder) in (each.info["environ"] or {}).get("KAIROS_HOME", "")]


def test_it_answers_by_the_model_after_a_bad_moment_too_and_leaves_nothing(
    pipeline: PipelineReport, slice_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked, at_work = trial._ask, [], set[psutil.Process]()

    def at_first_not(http: httpx.Client, user: str, k: int) -> str:
        at_work.update(running_in(tmp_path))
        asked.append(user)
        return ask(http, user, k) if len(asked) > trial.WARM_UP + len(USERS) else "popular"

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(trial, "PAUSE_S", 0.0)
    monkeypatch.setattr(trial, "_ask", at_first_not)
    before = files(slice_home)
    finding = try_over_http(slice_home, pipeline.model, USERS, LIMITS)
    assert finding.passed, finding.said
    assert len(asked) == trial.WARM_UP + 2 * len(USERS)
    assert finding.figures["ranked"] == 1
    assert 0 < finding.figures["median_s"] <= finding.figures["p95_s"]
    assert len(at_work) >= 3  # what holds its input, BentoML, and its worker
    _, alive = psutil.wait_procs(at_work, timeout=5)
    assert not alive
    assert not list(tmp_path.iterdir())
    changed = {path for path, at in files(slice_home).items() if before.get(path) != at}
    assert not [path for path in changed if path.suffix not in {".db-shm", ".db-wal"}]


def test_one_that_is_too_slow_over_http_is_refused(
    pipeline: PipelineReport, slice_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PAUSE_S", 0.0)
    decision = judge(slice_home, pipeline.model, replace(LIMITS, http_s=0.0001))
    [reason] = decision.reasons
    assert "answers over HTTP" in reason
    assert "at most 0" in reason


def test_answers_of_lower_rungs_refuse_it(
    pipeline: PipelineReport, slice_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PAUSE_S", 0.0)
    without_features = slice_home.model_copy(update={"features_within_ms": 0.001})
    finding = try_over_http(without_features, pipeline.model, USERS, LIMITS)
    assert not finding.passed
    assert "20 popular" in finding.said


def test_one_that_does_not_start_says_why(
    pipeline: PipelineReport, slice_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SERVICE", "services.service:Nobody")
    with pytest.raises(ServeError, match=r"ended with code \d.*Nobody"):
        try_over_http(slice_home, pipeline.model, ["1"], LIMITS)


def test_it_ends_with_whoever_started_it() -> None:
    # In a session of its own, as BentoML's workers are.
    child = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True).wait()"
    code = f"""
import subprocess, sys, time
process = subprocess.Popen(
    [sys.executable, "-m", "flows.ends_with_input", "timeit", "-n", "1", "-r", "1", {child!r}],
    stdin=subprocess.PIPE,
)
print(process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        process = psutil.Process(int(starter.stdout.readline()))
        deadline = time.monotonic() + 60
        while len(process.children(recursive=True)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        family = [process, *process.children(recursive=True)]
        starter.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
