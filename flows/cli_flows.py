"""How the commands run flows: on the Prefect server of `kairos up`, where it is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from infra.settings import settings

P = ParamSpec("P")
R = TypeVar("R")


def run_flow(flow: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a flow. It runs on the server that Prefect is told of, else on the local platform's while that is up.

    Without either Prefect starts a server for the command alone, and no automation is there to hear an alarm.
    """
    # Only who runs a flow needs these, and they take seconds to load.
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.platform import server_answers
    from flows.prefect_api import api_url

    config = settings()
    if PREFECT_API_URL.value() or not server_answers(config):
        return flow(*args, **kwargs)
    with temporary_settings({PREFECT_API_URL: api_url(config)}):
        return flow(*args, **kwargs)
