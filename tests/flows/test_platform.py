"""The local platform, really started: a Prefect server, a worker that runs the deployments, and their end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from uuid import UUID

import psutil
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Pending

from flows import cli_flows, lost_runs
from flows.cli_flows import run_flow
from flows.errors import PlatformError
from flows.notices import notify
from flows.pipeline import PipelineReport
from flows.platform import MARK, down, running, up
from flows.prefect_api import POOL, api_url
from flows.registration import DEPLOYMENTS
from flows.schedules import missing
from flows.status import status
from infra.ports import free_port
from infra.settings import Settings, environment

WANTED = yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]
RUN_S = 240
AT_WORK = FlowRunFilter(state={"type": {"any_": ["PENDING", "RUNNING"]}})


@pytest.fixture(scope="module")
def config(pipeline: PipelineReport, slice_home: Settings) -> Settings:
    return slice_home.model_copy(update={"prefect_port": free_port(), "port": free_port()})


@pytest.fixture(scope="module")
def said(config: Settings) -> Iterator[list[str]]:
    """The platform runs; what starting it said."""
    lines: list[str] = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")  # how often the worker looks for runs
            up(config, lines.append)
        with temporary_settings({PREFECT_API_URL: api_url(config)}):
            yield lines
    finally:
        down(config, lines.append)


@pytest.fixture(scope="module")
def quiet(said: list[str]) -> None:
    """It runs, and makes no runs by itself: they would take the cores from what a test waits for."""
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            client.pause_deployment(deployment.id)


def test_all_parts_start_and_the_status_shows_them(said: list[str], config: Settings) -> None:
    assert all(running(config).values())
    found = status(config)
    assert found["platform"]["state"] == "ok"
    assert {"server", "worker", "service"} <= set(found["platform"])
    assert found["service"]["state"] == "ok"


async def test_every_deployment_is_registered_with_its_schedule(said: list[str]) -> None:
    async with get_client() as client:
        known = {d.name: d for d in await client.read_deployments()}
    assert set(known) == {d["name"] for d in WANTED}
    for wanted in WANTED:
        [schedule] = known[wanted["name"]].schedules
        assert schedule.schedule.cron == wanted["schedules"][0]["cron"]
        assert known[wanted["name"]].work_pool_name == POOL


def test_nothing_is_missing(said: list[str], config: Settings) -> None:
    deadline = time.monotonic() + 60
    while (lacking := missing(config)) and time.monotonic() < deadline:
        time.sleep(1)  # the worker tells of itself a little after its start
    assert lacking == []


async def test_the_schedules_make_runs(said: list[str]) -> None:
    deadline = time.monotonic() + 120
    planned: set[UUID | None] = set()
    async with get_client() as client:
        wanted = {d.id for d in await client.read_deployments()}
        while planned != wanted and time.monotonic() < deadline:
            runs = await client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)
            planned |= {run.deployment_id for run in runs if run.deployment_id}
            await asyncio.sleep(1)
    assert planned == wanted


async def test_the_worker_runs_one(quiet: None, config: Settings) -> None:
    run = await run_deployment("features/features", timeout=RUN_S, poll_interval=1)
    assert run.state is not None
    assert run.state.is_completed(), (run.state, (config.platform / "worker.log").read_text()[-3000:])


class Hook(BaseHTTPRequestHandler):
    """A web hook that keeps what is posted to it."""

    posted: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *about: object) -> None:
        """Not on stderr."""


ALARM = """
from flows.alarms import alarm
from flows.cli_flows import run_flow

run_flow(alarm, "challenger-refused", "kairos:abc is refused")
"""


def test_an_alarm_is_posted_to_the_hook(quiet: None, config: Settings) -> None:
    env = {name: value for name, value in environment(config).items() if name != "PREFECT_API_URL"}
    with HTTPServer(("127.0.0.1", 0), Hook) as hook:
        Thread(target=hook.serve_forever, daemon=True).start()
        for _ in range(2):  # the second takes the place of the first
            notify(f"http://127.0.0.1:{hook.server_port}/")
        deadline = time.monotonic() + 60
        while not Hook.posted and time.monotonic() < deadline:
            # As a command raises it, told of no server; again until the server has taken the automation up.
            subprocess.run([sys.executable, "-c", ALARM], env=env, check=True)
            heard_by = time.monotonic() + 5
            while not Hook.posted and time.monotonic() < heard_by:
                time.sleep(0.1)
        hook.shutdown()
    assert "Kairos: kairos.alarm.challenger-refused" in Hook.posted[0]
    assert "kairos:abc is refused" in Hook.posted[0]


def test_runs_that_die_are_looked_for(quiet: None) -> None:
    with get_client(sync_client=True) as client:
        [automation] = client.read_automations_by_name(lost_runs.NAME)
    assert [action.type for action in automation.actions] == ["change-flow-run-state"]


def test_commands_run_flows_there_unless_another_server_is_named(
    quiet: None, config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_flows, "settings", lambda: config)
    with temporary_settings({PREFECT_API_URL: "http://elsewhere/api"}):
        assert run_flow(PREFECT_API_URL.value) == "http://elsewhere/api"
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert run_flow(PREFECT_API_URL.value) == api_url(config)
        # The platform of another home, on the same port, is none of this one's.
        monkeypatch.setattr(cli_flows, "settings", lambda: config.model_copy(update={"home": tmp_path}))
        assert run_flow(PREFECT_API_URL.value) is None


async def test_drift_triggers_a_training(quiet: None, config: Settings) -> None:
    file = config.accepted_features / "item_popularity.json"
    accepted = file.read_text()
    other = json.loads(accepted)
    # As if the run before had seen prices of a hundredth.
    other["columns"]["price_mean"]["edges"] = [edge / 100 for edge in other["columns"]["price_mean"]["edges"]]
    async with get_client() as client:
        [features] = [d for d in await client.read_deployments() if d.name == "features"]
        # One that has begun would accept what is there.
        while await client.read_flow_runs(flow_run_filter=AT_WORK, deployment_filter=of(features.id)):
            await asyncio.sleep(0.5)
        file.write_text(json.dumps(other))
        try:
            run = await run_deployment("features/features", timeout=0)
            while not (state := (await client.read_flow_run(run.id)).state) or not state.is_running():
                assert state is None or not state.is_final(), state
                await asyncio.sleep(0.1)
            await client.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))  # no training here
            while not (state := (await client.read_flow_run(run.id)).state) or not state.is_final():
                await asyncio.sleep(0.5)
            assert state.is_failed(), state
            [automation] = [a for a in await client.read_automations() if "train" in a.name]
            begun = await by_hand("train")
            assert len(begun) == 1, state
            await client.delete_flow_run(begun[0].id)
        finally:
            file.write_text(accepted)
            await client.update_work_pool(POOL, WorkPoolUpdate(is_paused=False))
    assert automation.trigger.within == timedelta(days=1)  # the alarm is raised each hour


def of(deployment: UUID) -> DeploymentFilter:
    return DeploymentFilter(id={"any_": [deployment]})


async def by_hand(deployment: str) -> list[FlowRun]:
    """Runs of a deployment that no schedule made, as soon as there is one."""
    deadline = time.monotonic() + 60
    begun: list[FlowRun] = []
    async with get_client() as client:
        [wanted] = [d for d in await client.read_deployments() if d.name == deployment]
        while not begun and time.monotonic() < deadline:
            runs = await client.read_flow_runs(deployment_filter=of(wanted.id))
            begun = [each for each in runs if not each.auto_scheduled]
            await asyncio.sleep(1)
    return begun


async def test_what_was_trained_is_published(quiet: None) -> None:
    async with get_client() as client:
        [automation] = [a for a in await client.read_automations() if "publish" in a.name]
        [train] = [d for d in await client.read_deployments() if d.name == "train"]
        run = await client.create_flow_run_from_deployment(train.id, state=Pending())  # which no worker takes
        await client.set_flow_run_state(run.id, Completed())
    [begun] = await by_hand("publish")
    assert [action.deployment_id for action in automation.actions] == [begun.deployment_id]


def test_starting_again_starts_only_what_is_missing(quiet: None, config: Settings) -> None:
    before = dict(running(config))
    worker = psutil.Process(before["worker"])
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    assert "worker does not run" in status(config)["platform"]["state"]
    lines: list[str] = []
    up(config, lines.append)
    after = running(config)
    assert (after["server"], after["service"]) == (before["server"], before["service"])
    assert after["worker"] not in (None, before["worker"])
    assert [line for line in lines if "runs already" in line] == ["server: runs already", "service: runs already"]


def test_a_port_that_something_else_has_is_told(quiet: None, config: Settings, tmp_path: Path) -> None:
    elsewhere = config.model_copy(update={"home": tmp_path})
    with pytest.raises(PlatformError, match="server: something else answers at"):
        up(elsewhere, lambda line: None)


async def test_stopping_leaves_nothing_behind_not_even_a_run(quiet: None, config: Settings) -> None:
    await run_deployment("evaluate/evaluate", timeout=0)
    worker = psutil.Process(running(config)["worker"])
    deadline = time.monotonic() + 90
    while not worker.children(recursive=True) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert worker.children(recursive=True), "the worker began no run"
    lines: list[str] = []
    down(config, lines.append)
    assert set(running(config).values()) == {None}
    assert [each for each in psutil.process_iter() if str(config.home) in mark_of(each)] == []
    down(config, lines.append)
    assert lines[-3:] == ["service: does not run", "worker: does not run", "server: does not run"]


def mark_of(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK, "")
    except psutil.Error:
        return ""
