"""The removal of what piles up, as a Prefect flow."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.ingest_flow import LOCK_WAIT_S
from flows.naming import run_name
from flows.prune import Pruned, prune
from flows.retries import again, may_pass
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings
from infra.settings import settings as process_settings


@task(name="prune-home", **again(2), retry_condition_fn=may_pass, cache_policy=NO_CACHE)
def _prune(settings: Settings, keep_days: float) -> Pruned:
    return prune(settings, keep_days=keep_days, now=datetime.now(UTC), wait_s=LOCK_WAIT_S)


@flow(name="prune", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["prune"])
def prune_flow(keep_days: float | None = None, settings: Settings | None = None) -> Pruned:
    """Remove what is older than the settings say, see `flows.prune`; nothing where they say nothing.

    Args:
        keep_days: by default that of the settings.
        settings: by default those of the process.

    Raises:
        LakeBusyError: another process writes the lake.
    """
    where = settings or process_settings()
    days = keep_days or where.keep_days
    if days is None:
        return Pruned()
    done = _prune(where, days)
    create_table_artifact(
        [{"what": what, "removed": count} for what, count in asdict(done).items()],
        key="pruned",
        description=f"older than {days:g} days",
    )
    return done
