"""Every deployment, registered on a real Prefect server and run by a real worker, as `kairos up` starts them."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import yaml

from flows.demo import COMPLETE_JOURNEY
from flows.pipeline import pipeline_flow
from flows.platform import DEPLOYMENTS, api_url, down, up
from infra.settings import settings

HOUSEHOLDS: Final = 80
RUN_S: Final = 900.0


def measure() -> dict[str, Any]:
    """The figure: how many of the deployments complete."""
    wanted = [each["name"] for each in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]]
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        home = Path(folder)
        own = {
            "KAIROS_HOME": str(home / "home"),
            "KAIROS_REPORTS": str(home / "reports"),
            "KAIROS_BACKUPS": str(home / "backups"),
            "KAIROS_KEEP_DAYS": "30",
            "KAIROS_TRAINING_CUTS": "3",
            "BENTOML_HOME": str(home / "home" / "bentoml"),
            "PREFECT_HOME": str(home / "prefect"),
        }
        os.environ |= own
        settings.cache_clear()
        pipeline_flow(COMPLETE_JOURNEY, {"households": HOUSEHOLDS})
        config = settings().model_copy(update={"prefect_port": _free_port(), "port": _free_port()})
        try:
            up(config, lambda line: print(f"  {line}", flush=True))
            os.environ["PREFECT_API_URL"] = api_url(config)
            found = {name: _run(name, api_url(config)) for name in wanted}
        finally:
            down(config, lambda line: None)
    completed = sum(each["state"] == "Completed" for each in found.values())
    return {
        "value": completed,
        "unit": f"of {len(wanted)} deployments run to their end by a worker",
        "target": len(wanted),
        "met": completed == len(wanted),
        "detail": {"deployments": found, "households": HOUSEHOLDS},
    }


def _run(name: str, api: str) -> dict[str, Any]:
    from prefect.deployments import run_deployment
    from prefect.settings import PREFECT_API_URL, temporary_settings

    began = time.perf_counter()
    with temporary_settings({PREFECT_API_URL: api}):
        run: Any = run_deployment(f"{name}/{name}", timeout=RUN_S, poll_interval=1)
    state = run.state.name if run.state else "none"
    took = round(time.perf_counter() - began, 1)
    print(f"  {name}: {state} after {took} s", flush=True)
    return {"state": state, "seconds": took}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
