"""Every deployment, registered on a real Prefect server and run by a real worker, as `kairos up` starts them."""

from __future__ import annotations

import time
from typing import Any, Final

import yaml
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.ops.own_home import own_home
from flows.platform import down, up
from flows.prefect_api import api_url
from flows.registration import DEPLOYMENTS
from infra.ports import free_port

HOUSEHOLDS: Final = 80
RUN_S: Final = 900.0


def measure() -> dict[str, Any]:
    """The figure: how many of the deployments complete."""
    wanted = [each["name"] for each in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]]
    with own_home(HOUSEHOLDS, KAIROS_KEEP_DAYS="30", KAIROS_TRAINING_CUTS="3") as own:
        config = own.model_copy(update={"prefect_port": free_port(), "port": free_port()})
        try:
            up(config, lambda line: print(f"  {line}", flush=True))
            with temporary_settings({PREFECT_API_URL: api_url(config)}):
                found = {name: _run(name) for name in wanted}
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


def _run(name: str) -> dict[str, Any]:
    began = time.perf_counter()
    run: Any = run_deployment(f"{name}/{name}", timeout=RUN_S, poll_interval=1)
    state = run.state.name if run.state else "none"
    took = round(time.perf_counter() - began, 1)
    print(f"  {name}: {state} after {took} s", flush=True)
    return {"state": state, "seconds": took}
