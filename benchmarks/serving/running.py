"""A BentoML service, started for a figure and ended after it."""

from __future__ import annotations

import ctypes
import http
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from infra.ports import free_port
from infra.settings import PROJECT_ROOT

KAIROS: Final = "services.service:Kairos"
READY_WITHIN_S: Final = 180
ENDS_WITHIN_S: Final = 30
_PR_SET_PDEATHSIG: Final = 1
_WORKER: Final = "_bentoml_impl.worker.service"


@dataclass(frozen=True)
class Running:
    """A service that answers on 127.0.0.1."""

    port: int
    process: psutil.Process
    """BentoML's own, which watches over the workers."""
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, timeout_s: float = 5.0) -> tuple[int, bytes]:
        """Status and body.

        Raises:
            OSError: nobody answers.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        """What /healthz says, whatever its status."""
        content: dict[str, Any] = json.loads(self.get("/healthz")[1])
        return content

    def workers(self) -> list[psutil.Process]:
        """The processes that answer requests."""
        return [process for process in self.processes() if _WORKER in " ".join(_command(process))]

    def processes(self) -> list[psutil.Process]:
        """BentoML's process and all that it started."""
        return [self.process, *self.process.children(recursive=True)]

    def memory_mb(self) -> float:
        """Resident memory of all of them together."""
        total = 0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6


@contextmanager
def running(service: str = KAIROS, **environment: str) -> Iterator[Running]:
    """Start a service with this process's environment and more; it is ready when this is entered.

    Raises:
        SystemExit: it ended, or was not ready in time.
    """
    port = free_port()
    log = Path(os.environ["KAIROS_HOME"]).parent / f"{service.partition(':')[2].lower()}-{port}.log"
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as to:
        started = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=os.environ | environment,
            stdout=to,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
        )
    try:
        service_ = Running(port, psutil.Process(started.pid), log)
        _wait(service_, started)
        yield service_
    finally:
        _end(started)


def _end_with_parent() -> None:
    """A figure that is killed leaves no service behind (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(service: Running, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if started.poll() is not None:
            raise SystemExit(f"the service ended with code {started.returncode}:\n{service.log.read_text()[-4000:]}")
        with suppress(OSError):
            if service.get("/readyz")[0] == http.HTTPStatus.OK:
                return
        time.sleep(0.2)
    raise SystemExit(f"the service was not ready within {READY_WITHIN_S} s:\n{service.log.read_text()[-4000:]}")


def _end(started: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(started.pid).children(recursive=True) if started.poll() is None else []
    started.terminate()
    try:
        started.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
