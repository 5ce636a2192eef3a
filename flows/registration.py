"""What Prefect's server is told: the work pool, the deployments on their schedules, and to look for runs that died."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import Final

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.errors import PlatformError
from flows.lost_runs import watch_runs
from flows.platform import tool
from flows.prefect_api import POOL
from infra.settings import PROJECT_ROOT

DEPLOYMENTS: Final = PROJECT_ROOT / "infra" / "prefect.yaml"


def register(env: Mapping[str, str], say: Callable[[str], None] = print) -> None:
    """Tell a server all of it anew: a schedule that was edited holds from now on.

    Args:
        env: the environment of Prefect's commands; PREFECT_API_URL in it names the server.

    Raises:
        PlatformError: the server does not take it; it says what Prefect said.
    """
    file = str(DEPLOYMENTS.relative_to(PROJECT_ROOT))
    _prefect(env, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect(env, "deploy", "--all", "--prefect-file", file)
    with temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}):
        watch_runs()
    say(f"deployments: registered from {file}")


def _prefect(env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [tool("prefect"), "--no-prompt", *arguments],
        cwd=PROJECT_ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise PlatformError(f"prefect {' '.join(arguments[:2])} failed: {(done.stderr + done.stdout).strip()[-2000:]}")
