"""Compaction as a Prefect flow."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.compaction import Compacted, compact
from flows.ingest_flow import LOCK_WAIT_S
from flows.naming import run_name
from flows.retries import again, may_pass
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings
from infra.settings import settings as process_settings


@task(name="compact-lake", **again(2), retry_condition_fn=may_pass, cache_policy=NO_CACHE)
def _compact(settings: Settings) -> Compacted:
    return compact(settings, now=datetime.now(UTC), wait_s=LOCK_WAIT_S)


@flow(name="compact", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["compact"])
def compact_flow(settings: Settings | None = None) -> Compacted:
    """Merge the small event files of the lake.

    Args:
        settings: by default those of the process.

    Raises:
        LakeBusyError, DiskFullError: see `flows.compaction.compact`.
    """
    done = _compact(settings or process_settings())
    create_table_artifact(
        [{"what": what, "count": count} for what, count in asdict(done).items()],
        key="compaction",
        description="event files before and after; the rows are the same",
    )
    return done
