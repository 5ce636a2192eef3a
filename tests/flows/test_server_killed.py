"""A Prefect server that is killed with runs in progress and comes back: their turns are free, and they are told of."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun
from prefect.events import Event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running

from flows.lost_runs import watch_runs
from flows.platform import SERVER, parts
from flows.prefect_api import api_url
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
        wait_for(lambda: answers(str(server.health)), START_S)
        with temporary_settings({PREFECT_API_URL: api_url(config)}), get_client(sync_client=True) as client:
            yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(so: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not so():
        if time.monotonic() > deadline:
            pytest.fail(f"not so within {within_s} s")
        time.sleep(0.5)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def asked(client: SyncPrefectClient) -> str | None:
    """State of a new run of `ingest` when a worker has asked for its turn."""
    run = client.create_flow_run_from_deployment(client.read_deployment_by_name("ingest/ingest").id)
    done = client.set_flow_run_state(run.id, Pending())
    return done.state and done.state.name


def begun(client: SyncPrefectClient, config: Settings) -> FlowRun:
    """A run of `train` of which a heartbeat was heard, and after it nothing more."""
    run = client.create_flow_run_from_deployment(client.read_deployment_by_name("train/train").id)
    client.set_flow_run_state(run.id, Running())
    heartbeat = Event(
        event="prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"}
    )
    client.request("POST", "/events", json=[heartbeat.model_dump(mode="json")]).raise_for_status()
    wait_for(lambda: bool(in_database(config, "SELECT 1 FROM automation_bucket")), 30)
    return run


def a_day_passes(config: Settings) -> None:
    moved = ", ".join(f"\"{name}\" = strftime('%Y-%m-%d %H:%M:%f', \"{name}\", '-1 day')" for name in ("start", "end"))
    in_database(config, f"UPDATE automation_bucket SET {moved}")


def in_database(config: Settings, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(config.home / "prefect.db")) as con, con:
        return con.execute(statement).fetchall()


@pytest.fixture(scope="module")
def back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SyncPrefectClient, FlowRun]]:
    """A client of the server that was killed and is back, and a run of which it has heard nothing since."""
    config = Settings(home=tmp_path_factory.mktemp("home"), prefect_port=free_port())
    with killed_server(config) as client:
        watch_runs()
        client.create_deployment(client.create_flow_from_name("ingest"), "ingest", concurrency_limit=1)
        client.create_deployment(client.create_flow_from_name("train"), "train")
        assert asked(client) == "Pending"
        lost = begun(client, config)
    a_day_passes(config)
    with killed_server(config) as client:
        yield client, lost


def test_a_turn_comes_back_after_the_server_was_killed(back: tuple[SyncPrefectClient, FlowRun]) -> None:
    client, _ = back
    deadline = time.monotonic() + LEASE_S + 60
    while (state := asked(client)) != "Pending" and time.monotonic() < deadline:
        assert state == "AwaitingConcurrencySlot"
        time.sleep(1)
    assert state == "Pending"


def test_a_run_that_died_with_the_server_is_told_of_a_day_later(back: tuple[SyncPrefectClient, FlowRun]) -> None:
    client, lost = back
    watch_runs()  # as the next `kairos up` does
    wait_for(lambda: client.read_flow_run(lost.id).state_name == "Crashed", 60)
