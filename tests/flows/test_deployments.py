"""The deployments: registered on a real Prefect server, run by a real worker."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from flows.pipeline import PipelineReport
from infra.settings import PROJECT_ROOT, Settings

FILE = PROJECT_ROOT / "infra" / "prefect.yaml"
DEPLOYMENTS = yaml.safe_load(FILE.read_text())["deployments"]
POOL = "kairos"


def prefect(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=env, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def worker_env(slice_home: Settings) -> dict[str, str]:
    """What an operator's shell has: the server's address, the project's root and the home."""
    return os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "KAIROS_ROOT": str(PROJECT_ROOT)}


@pytest.fixture(scope="module")
def registered(worker_env: dict[str, str]) -> None:
    made = prefect("work-pool", "create", POOL, "--type", "process", "--overwrite", env=worker_env)
    assert made.returncode == 0, made.stderr + made.stdout
    deployed = prefect("deploy", "--all", "--prefect-file", str(FILE.relative_to(PROJECT_ROOT)), env=worker_env)
    assert deployed.returncode == 0, deployed.stderr + deployed.stdout


async def test_every_deployment_is_registered_with_its_schedule(registered: None) -> None:
    async with get_client() as client:
        known = {d.name: d for d in await client.read_deployments()}
    assert (
        set(known)
        == {d["name"] for d in DEPLOYMENTS}
        == {"ingest", "features", "refresh", "train", "publish", "evaluate", "pipeline"}
    )
    for wanted in DEPLOYMENTS:
        [schedule] = known[wanted["name"]].schedules
        assert schedule.schedule.cron == wanted["schedules"][0]["cron"]
        assert known[wanted["name"]].work_pool_name == POOL


async def test_the_server_makes_the_runs_that_are_due(registered: None) -> None:
    """As its scheduler does; SQLAlchemy 2.1 refuses what that writes, and no deployment would ever run."""
    only = DeploymentFilter(name=DeploymentFilterName(any_=["train"]))
    async with get_client() as client:
        [deployment] = await client.read_deployments(deployment_filter=only)
        # Days ahead, where no worker of a test looks.
        begin = (datetime.now(UTC) + timedelta(days=7)).isoformat()
        asked = {"start_time": begin, "min_runs": 2, "max_runs": 2}
        answer = await client._client.post(f"/deployments/{deployment.id}/schedule", json=asked)
        assert answer.is_success, answer.text
        runs = await client.read_flow_runs(deployment_filter=only)
    assert [(run.expected_start_time.hour, run.expected_start_time.minute) for run in runs] == [(2, 0)] * 2


async def test_a_worker_runs_one(pipeline: PipelineReport, registered: None, worker_env: dict[str, str]) -> None:
    run = await run_deployment("features/features", timeout=0)
    done = prefect("worker", "start", "--pool", POOL, "--run-once", env=worker_env)
    assert done.returncode == 0, done.stderr + done.stdout
    async with get_client() as client:
        finished = await client.read_flow_run(run.id)
    assert finished.state is not None
    assert finished.state.is_completed(), (finished.state, done.stdout[-3000:])
