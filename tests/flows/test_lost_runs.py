"""A run that is killed with whoever started it: nobody reports it, and it is called crashed all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.filters import FlowFilter
from prefect.settings import PREFECT_API_URL

from flows import lost_runs
from flows.lost_runs import NAME, watch_runs
from flows.notices import FAILED

SILENCE = timedelta(seconds=10)
"""The shortest that Prefect allows"""
WAIT_S = 90
T = TypeVar("T")
RUNS_ON = """
import time
from prefect import flow

@flow(name="runs-on")
def runs_on():
    time.sleep(600)

runs_on()
"""


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    """Of the tests' server; what is registered goes again, for later tests have runs that are silent for longer."""
    with get_client(sync_client=True) as client:
        yield client
        forget(client)


def forget(client: SyncPrefectClient) -> None:
    for automation in client.read_automations_by_name(NAME):
        client.delete_automation(automation.id)


@flow(name="is-over")
def is_over() -> None:
    """Ends at once."""


def test_what_is_there_stays_and_what_is_another_goes(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_runs()
    [first] = client.read_automations_by_name(NAME)
    watch_runs()
    [second] = client.read_automations_by_name(NAME)
    assert second.id == first.id  # which knows what it has heard of
    monkeypatch.setattr(lost_runs, "SILENCE", SILENCE)
    watch_runs()
    [third] = client.read_automations_by_name(NAME)
    assert third.id != first.id
    assert third.trigger.within == SILENCE


def test_a_killed_run_is_told_of(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_runs, "SILENCE", SILENCE)
    watch_runs()
    is_over()
    env = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    process = subprocess.Popen([sys.executable, "-c", RUNS_ON], env=env, start_new_session=True)
    try:
        run = wait_for(lambda: heard_of(client))
        assert run is not None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert state(client, run) == "Running"
    wait_for(lambda: state(client, run) == "Crashed")
    assert wait_for(lambda: events(client, "prefect.flow-run.Crashed", run))
    assert "prefect.flow-run.Crashed" in FAILED
    [over] = client.read_flow_runs(flow_filter=FlowFilter(name={"any_": ["is-over"]}))
    assert state(client, over) == "Completed"


def wait_for(found: Callable[[], T]) -> T:
    """What is found, as soon as it is something."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.5)
    raise AssertionError(f"nothing within {WAIT_S} s")


def heard_of(client: SyncPrefectClient) -> FlowRun | None:
    """The run, once it has sent a heartbeat."""
    runs = client.read_flow_runs(flow_filter=FlowFilter(name={"any_": ["runs-on"]}))
    return next((run for run in runs if events(client, "prefect.flow-run.heartbeat", run)), None)


def events(client: SyncPrefectClient, name: str, run: FlowRun) -> list[dict[str, Any]]:
    """As the server has them."""
    wanted = {"event": {"name": [name]}, "resource": {"id": [f"prefect.flow-run.{run.id}"]}}
    return client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]


def state(client: SyncPrefectClient, run: FlowRun) -> str | None:
    now = client.read_flow_run(run.id).state
    return now and now.name
