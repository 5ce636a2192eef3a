"""The local platform: Prefect's server, a worker and the service, started and stopped together.

Each is a process of its own that outlives the command. Files under `KAIROS_HOME/platform` name them, and a mark in
their environment, which their children inherit, tells them from whatever has got their number since.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from feature_repo.file_lock import file_lock
from flows.errors import PlatformError
from flows.json_file import write_json
from flows.prefect_api import POOL, api_url
from flows.serving import SERVICE, service_clock
from infra.settings import PROJECT_ROOT, Settings, environment
from models import registry

START_S: Final = 180.0
"""The longest that a part may take until it answers."""
STOP_S: Final = 30.0
"""The longest that a part may take to end what it has begun; then it is killed."""
JOBS: Final = 4
"""Runs that a worker has at once, here as in the containers; others wait. Each is a process with all libraries, and
what was missed while no worker ran would begin all at one moment."""
SERVER: Final = {
    # A run holds its deployment's turn by a lease. Leases in the server's memory end with it, and nobody gives back
    # the turns that the database says are taken: no run of their deployments ever begins again.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # When a run was last heard of is forgotten a minute after its time is up, unless this says when. A machine that was
    # off for a weekend tells of the runs that it took with it.
    "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
    # Two thousand runs a day, with their logs and artifacts. They go when they are older than 30 days, in seconds.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "2592000",
}
"""What every Prefect server of ours is told, here as in the containers; the leases are in its `PREFECT_HOME`."""
MARK: Final = "KAIROS_PART"
"""Variable that names part and home in the environment of a part's processes"""


@dataclass(frozen=True)
class Part:
    """One process of the platform.

    Attributes:
        name: what it is called, and its files.
        command: what is run.
        health: address that answers once it is ready; None: it is ready when it runs.
    """

    name: str
    command: tuple[str, ...]
    health: str | None = None


def parts(config: Settings) -> tuple[Part, ...]:
    """In the order in which they are started."""
    port = str(config.prefect_port)
    api = api_url(config)
    return (
        Part("server", (tool("prefect"), "server", "start", "--host", "127.0.0.1", "--port", port), f"{api}/health"),
        Part("worker", (tool("prefect"), "worker", "start", "--pool", POOL, "--name", "kairos", "--limit", str(JOBS))),
        Part(
            "service",
            (sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", config.host, "--port", str(config.port)),
            f"http://{config.host}:{config.port}/readyz",
        ),
    )


def up(config: Settings, say: Callable[[str], None] = print) -> None:
    """Start what does not run yet, and register the deployments, and who looks for runs that died.

    Without a champion there is nothing to serve yet: server and worker are started, and the service by the next call.

    Raises:
        PlatformError: a part ended, or was not ready in time; it names the part's log.
        FeaturesBusyError: another `up` or `down` is at it for longer than a part may take.
    """
    from flows.registration import register  # Prefect takes seconds to load, and who asks what runs needs none of it

    server, worker, service = parts(config)
    with _alone(config):
        ours = _environment(config)
        _start(config, server, ours, say)
        register(ours, say)
        _start(config, worker, ours, say)
        try:
            registry.champion(config.champion)
        except registry.NoChampionError:
            say("service: not started, no model is in service yet: kairos demo or kairos publish, then this again")
            return
        _start(config, service, ours | service_clock(config), say)


def down(config: Settings, say: Callable[[str], None] = print) -> None:
    """Stop all that runs, the last one first, and what a part that died has left; each may end what it has begun.

    Raises:
        FeaturesBusyError: as `up`.
    """
    with _alone(config):
        for part in reversed(parts(config)):
            found = _processes(config, part.name)
            if not found:
                say(f"{part.name}: does not run")
                continue
            _stop(lambda name=part.name: _processes(config, name))  # type: ignore[misc]
            _file(config, part.name).unlink(missing_ok=True)
            say(f"{part.name}: stopped")


@contextmanager
def _alone(config: Settings) -> Iterator[None]:
    with file_lock(config.platform / "platform.lock", "the local platform", START_S):
        yield


def server_answers(config: Settings) -> bool:
    """Whether the Prefect server that `up` started for this home is there."""
    return _running(config, "server") is not None and _answers(f"{api_url(config)}/health")


def running(config: Settings) -> Mapping[str, int | None]:
    """Part -> its process's number, None where it does not run."""
    found = {part.name: _running(config, part.name) for part in parts(config)}
    return {name: process.pid if process else None for name, process in found.items()}


def _start(config: Settings, part: Part, env: Mapping[str, str], say: Callable[[str], None]) -> None:
    log = config.platform / f"{part.name}.log"
    if process := _running(config, part.name):
        _wait(part, process, log)
        say(f"{part.name}: runs already")
        return
    if part.health and _answers(part.health):
        raise PlatformError(f"{part.name}: something else answers at {part.health}; stop it, or set another port")
    marked = {**env, MARK: _mark(config, part.name)}
    with log.open("ab") as output:
        # A session of its own: it outlives this command, and Ctrl-C in this terminal is not for it.
        started = subprocess.Popen(
            part.command, cwd=PROJECT_ROOT, env=marked, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    write_json(_file(config, part.name), {"pid": started.pid})
    _wait(part, psutil.Process(started.pid), log)
    say(f"{part.name}: started, process {started.pid}, log {log}")


def _wait(part: Part, process: psutil.Process, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while part.health and not _answers(part.health):
        if not _is_alive(process):
            raise PlatformError(f"{part.name}: ended before it was ready; {log} says why")
        if time.monotonic() > deadline:
            raise PlatformError(f"{part.name}: not ready within {START_S:.0f} s; {log} says more")
        time.sleep(0.2)


def _stop(family: Callable[[], Collection[psutil.Process]]) -> None:
    """Ask all of a part's processes to end, and kill what is left of them after a while.

    Args:
        family: who they are now: what has begun in between belongs to them.
    """
    for ask, within_s in ((signal.SIGINT, STOP_S / 2), (signal.SIGTERM, STOP_S / 2), (signal.SIGKILL, 5.0)):
        for each in family():
            with suppress(psutil.NoSuchProcess):
                each.send_signal(ask)
        deadline = time.monotonic() + within_s
        while family() and time.monotonic() < deadline:
            time.sleep(0.2)


def _running(config: Settings, name: str) -> psutil.Process | None:
    """The part's first process."""
    try:
        process = psutil.Process(json.loads(_file(config, name).read_text())["pid"])
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process if _is_ours(process, _mark(config, name)) else None


def _processes(config: Settings, name: str) -> list[psutil.Process]:
    """All of a part: children have its environment, in whatever session they run and whoever has died above them."""
    mark = _mark(config, name)
    return [process for process in psutil.process_iter() if _is_ours(process, mark)]


def _is_ours(process: psutil.Process, mark: str) -> bool:
    try:
        return _is_alive(process) and process.environ().get(MARK) == mark
    except psutil.Error:  # somebody else's, or gone
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mark(config: Settings, name: str) -> str:
    return f"{name} of {config.home.resolve()}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _environment(config: Settings) -> dict[str, str]:
    ours = {
        "PREFECT_API_URL": api_url(config),
        "PREFECT_HOME": str(config.platform / "prefect"),
        "KAIROS_ROOT": str(PROJECT_ROOT),
    }
    return SERVER | environment(config) | ours


def _file(config: Settings, name: str) -> Path:
    return config.platform / f"{name}.json"


def tool(name: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).with_name(name))
