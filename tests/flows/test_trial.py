"""A challenger's real service, beside the home of the one that works."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flows import trial
from flows.errors import ServeError
from flows.gate import judge
from flows.pipeline import PipelineReport
from flows.trial import try_over_http
from infra.settings import PROJECT_ROOT, Settings
from models.gate import GateConfig

LIMITS = GateConfig(asked=20)


def files(config: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in config.home.rglob("*") if path.is_file()}


def test_it_answers_by_the_model_and_leaves_nothing(pipeline: PipelineReport, slice_home: Settings) -> None:
    before = files(slice_home)
    users = [str(number) for number in range(1, 81)]
    finding = try_over_http(slice_home, pipeline.model, users[:20], LIMITS)
    assert finding.passed, finding.said
    assert finding.figures["lower_rungs"] == 0
    assert 0 < finding.figures["median_s"] <= finding.figures["p95_s"]
    homes = [each.info["environ"] or {} for each in psutil.process_iter(["environ"])]
    assert not [home for each in homes if "kairos-trial-" in (home := each.get("KAIROS_HOME", ""))]
    changed = {path for path, at in files(slice_home).items() if before.get(path) != at}
    assert not [path for path in changed if path.suffix not in {".db-shm", ".db-wal"}]


def test_one_that_is_too_slow_over_http_is_refused(pipeline: PipelineReport, slice_home: Settings) -> None:
    decision = judge(slice_home, pipeline.model, replace(LIMITS, http_s=0.0001))
    [reason] = decision.reasons
    assert "answers over HTTP" in reason
    assert "at most 0" in reason


def test_one_that_does_not_start_says_why(
    pipeline: PipelineReport, slice_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SERVICE", "services.service:Nobody")
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
        while len(process.children(recursive=True)) < 2:
            assert process.is_running()
        family = [process, *process.children(recursive=True)]
        starter.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
