"""`kairos serve`, ended from outside: its service ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from infra.ports import free_port
from infra.settings import PROJECT_ROOT

from .conftest import NOW, Shop


def test_a_termination_ends_the_service(shop: Shop, tmp_path: Path) -> None:
    config = shop.copy(tmp_path / "home").settings
    environment = os.environ | {
        "KAIROS_HOME": str(config.home),
        "BENTOML_HOME": str(config.bentoml_home),
        "KAIROS_CLOCK_START": NOW.isoformat(),
        "KAIROS_PORT": str(free_port()),
    }
    command = [str(Path(sys.executable).with_name("kairos")), "serve"]
    with (tmp_path / "log").open("wb") as log:
        serve = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=log)
    assert serve.stdout is not None
    said = next((line for line in serve.stdout if b"Ready" in line), b"")
    processes = psutil.Process(serve.pid).children(recursive=True)
    serve.terminate()
    assert said, (tmp_path / "log").read_text()
    assert processes
    assert serve.wait(60) == 0
    _, left = psutil.wait_procs(processes, 30)
    assert not left
