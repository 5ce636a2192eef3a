"""A Prefect server that is killed with a run in progress: the turn of its deployment comes back after the lease."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from flows.platform import SERVER, api_url, parts
from infra.ports import free_port
from infra.settings import Settings

START_S = 180
LEASE_S = 30
"""The shortest that Prefect allows"""
SHORT_TIMES = {
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": str(LEASE_S),
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "1",
}


@contextmanager
def killed_server(config: Settings) -> Iterator[SyncPrefectClient]:
    """A client of the server that `kairos up` starts; it is killed in the end."""
    server = parts(config)[0]
    env = os.environ | SERVER | SHORT_TIMES | {"PREFECT_HOME": str(config.home)}
    process = subprocess.Popen(server.command, env=env, start_new_session=True)
    try:
        wait_for(str(server.health))
        with temporary_settings({PREFECT_API_URL: api_url(config)}), get_client(sync_client=True) as client:
            yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=2).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"{url}: no answer within {START_S} s")


def asked(client: SyncPrefectClient) -> str | None:
    """State of a new run when a worker has asked for its turn."""
    [deployment] = client.read_deployments()
    run = client.create_flow_run_from_deployment(deployment.id)
    done = client.set_flow_run_state(run.id, Pending())
    return done.state and done.state.name


def test_a_turn_comes_back_after_the_server_was_killed(tmp_path: Path) -> None:
    config = Settings(home=tmp_path, prefect_port=free_port())
    with killed_server(config) as client:
        client.create_deployment(client.create_flow_from_name("ingest"), "ingest", concurrency_limit=1)
        assert asked(client) == "Pending"
    with killed_server(config) as client:
        deadline = time.monotonic() + LEASE_S + 60
        while (state := asked(client)) != "Pending" and time.monotonic() < deadline:
            assert state == "AwaitingConcurrencySlot"
            time.sleep(1)
    assert state == "Pending"
