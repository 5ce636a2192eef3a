"""`kairos up` and `kairos down`, the local platform in one command, and what any Prefect server is told."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from infra.settings import PROJECT_ROOT, settings


def up() -> None:
    """Start the local platform: Prefect's server with the schedules, a worker, the service. What runs already stays."""
    from flows.platform import up as start
    from flows.present import console

    config = settings()
    start(config, lambda line: console.print(line, soft_wrap=True, highlight=False))
    console.print(
        f"\nSchedules: http://127.0.0.1:{config.prefect_port}  Service: http://{config.host}:{config.port}\n"
        "kairos status shows what runs, kairos down stops it.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def deploy() -> None:
    """Register the deployments, and what looks for runs that died, with Prefect's server; kairos up does it itself."""
    from flows.present import console
    from flows.registration import register

    env = {"KAIROS_ROOT": str(PROJECT_ROOT), **os.environ, "PREFECT_API_URL": _prefect_url()}
    register(env, lambda line: console.print(line, soft_wrap=True, highlight=False))


def notify(
    url: Annotated[str, typer.Argument(help="Takes a POST of JSON with `text`: a hook of Slack, Mattermost or Teams")],
) -> None:
    """Post every alarm and every failed run to a web hook, by an automation of the Prefect server of kairos up."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.notices import notify as tell
    from flows.present import console

    with temporary_settings({PREFECT_API_URL: _prefect_url()}):
        tell(url)
    console.print("Alarms and failed runs are posted there from now on; alarms are listed in docs/schedules.md.")


def down() -> None:
    """Stop the local platform. Runs that have begun may end within half a minute."""
    from flows.platform import down as stop
    from flows.present import console

    stop(settings(), lambda line: console.print(line, soft_wrap=True, highlight=False))


def _prefect_url() -> str:
    """Of the server that is named, else of that of kairos up.

    Where one is named no setting is read: a container that only registers has no passwords.
    """
    from flows.prefect_api import api_url

    return os.environ.get("PREFECT_API_URL") or api_url(settings())
