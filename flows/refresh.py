"""The refresh step: item features as of now. For where no service runs; a service refreshes by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow, task

from feature_repo.refresh import Refreshed, refresh
from feature_repo.store import Features
from flows.naming import run_name, this_run
from flows.serving import clock_start
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings, settings

WAIT_S = 30.0
"""How long a refresh waits for another, or for a materialisation."""


def refresh_items(config: Settings, run: str = "") -> Refreshed:
    """Bring the item features up to now; of data that are history, to their end.

    Raises:
        FeatureError: see `feature_repo.refresh.refresh`.
    """
    now = clock_start(config) or datetime.now(UTC)
    return refresh(Features.open(config), now, run=run, wait_s=WAIT_S)


# No retry: the next run comes within the minute.
@task(name="refresh-items")
def _refresh() -> Refreshed:
    return refresh_items(settings(), this_run())


@flow(name="refresh", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["refresh"])
def refresh_flow() -> Refreshed:
    """Item popularity, trends and the week's rhythm as of now: online, offline and in the packed item table."""
    return _refresh()
