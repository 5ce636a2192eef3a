"""The refresh step: item features as of now, where no service runs: a service refreshes by itself."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from prefect import flow, task

from feature_repo.errors import EmptyLakeError, FeaturesBusyError
from feature_repo.file_lock import try_lock
from feature_repo.refresh import TURN, Refreshed, refresh
from feature_repo.store import Features
from flows.naming import run_name, this_run
from flows.serving import clock_start
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings, settings

WAIT_S = 30.0
"""How long a refresh waits for another, or for a materialisation."""

log = logging.getLogger("kairos.refresh")


def refresh_items(config: Settings, run: str = "") -> Refreshed:
    """Bring the item features up to now; of data that are history, to their end.

    Raises:
        FeatureError: see `feature_repo.refresh.refresh`.
    """
    now = clock_start(config) or datetime.now(UTC)
    return refresh(Features.open(config), now, run=run, wait_s=WAIT_S)


# No retry: the next run comes within the minute.
@task(name="refresh-items")
def _refresh() -> Refreshed | None:
    try:
        return refresh_items(settings(), this_run())
    except (FeaturesBusyError, EmptyLakeError) as error:
        log.warning("not refreshed: %s", error)
        return None


@flow(name="refresh", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["refresh"])
def refresh_flow() -> Refreshed | None:
    """Item popularity, trends and the week's rhythm as of now: online, offline and in the packed item table.

    Returns:
        None: nothing was done: a service does it, others write item features just now, or there is no event.
    """
    settings().home.mkdir(parents=True, exist_ok=True)
    with (settings().home / TURN).open("a") as turn:
        if not try_lock(turn.fileno()):
            return None
        return _refresh()
