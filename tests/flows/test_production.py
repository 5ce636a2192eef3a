"""The whole pipeline on profile production: the event log and the online store in Redis, the registry in PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL
from redis import Redis

from infra.settings import PROJECT_ROOT, Settings, environment
from tests.feature_repo.servers import REDIS_URL, production

HOUSEHOLDS = 60
PIPELINE = f"""
from flows.pipeline import pipeline_flow, report_json, write_report
from infra.settings import settings
report = pipeline_flow("complete-journey", {{"households": {HOUSEHOLDS}}})
write_report(report_json(report, settings()), settings(), "pipeline")
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, dict[str, str]]]:
    """Its settings, and the environment of its processes; the pipeline has run."""
    home = tmp_path_factory.mktemp("production")
    with production(home) as config:
        config = config.model_copy(update={"event_stream": "redis", "training_cuts": 2})
        env = {name: value for name, value in environment(config).items() if name != "BENTOML_HOME"}
        env["PREFECT_API_URL"] = str(PREFECT_API_URL.value())  # else each process starts a server of its own
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PIPELINE], cwd=PROJECT_ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield config, env


def kairos(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("kairos")), *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=env | {"COLUMNS": "250"}, capture_output=True, text=True)


def test_every_step_of_the_pipeline_passes(installation: tuple[Settings, dict[str, str]]) -> None:
    config, _ = installation
    report = json.loads((config.reports / "pipeline.json").read_text())
    assert report["rows"]["events"] > 10_000
    assert report["holdout"]["all"]["ndcg@10"]["low"] > report["baselines"]["popularity"]["all"]["ndcg@10"]["value"]


def test_rows_are_in_redis_and_the_registry_in_postgresql(installation: tuple[Settings, dict[str, str]]) -> None:
    config, _ = installation
    with Redis.from_url(REDIS_URL) as redis:
        assert sum(1 for _ in redis.scan_iter(f"*{config.project}*", count=10_000)) > HOUSEHOLDS
    assert not list(config.home.glob("feast/*.db"))
    assert not config.event_log.exists()


def test_the_doctor_finds_no_error_and_a_user_is_answered(installation: tuple[Settings, dict[str, str]]) -> None:
    _, env = installation
    looked = kairos(env, "doctor")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "the user of the newest event is known" in looked.stdout
    answer = kairos(env, "recommend", "1")
    assert answer.returncode == 0, answer.stderr
    assert "For user 1" in answer.stdout
