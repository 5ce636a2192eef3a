"""The ingest as a Prefect flow: read and validate, commit, show."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.alarms import alarm
from flows.connectors import Connector
from flows.connectors import connector as connector_by_name
from flows.errors import BatchRefusedError
from flows.ingest import IngestReport, new_batch_id, report_of
from flows.lake_writer import Committed, commit_batch, lake_lock
from flows.naming import run_name, this_run
from flows.retries import again, may_pass
from flows.staging import Staged, drop_leftovers, stage_batch
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings
from infra.settings import settings as process_settings

LOCK_WAIT_S = 1_800.0
"""How long a scheduled writer of the lake waits for another: a compaction or a first import takes its time, and the
events are in the log meanwhile. A run that gives up is a notice to somebody."""


@task(name="read-and-validate", **again(2), retry_condition_fn=may_pass, cache_policy=NO_CACHE)
def stage_task(connector: Connector, settings: Settings, batch_id: str, now: datetime, progress: bool) -> Path:
    """Stage one batch; the folder's path goes on, not its rows."""
    return stage_batch(connector, settings, batch_id=batch_id, now=now, run=this_run(), progress=progress)


@task(name="commit-to-lake", **again(2), retry_condition_fn=may_pass, cache_policy=NO_CACHE)
def commit_task(folder: Path, settings: Settings) -> Committed:
    """Take the staged batch into the lake."""
    return commit_batch(folder, settings)


@flow(name="ingest", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["ingest"])
def ingest_flow(
    connector: str,
    options: dict[str, Any] | None = None,
    settings: Settings | None = None,
    now: datetime | None = None,
    progress: bool = False,
) -> IngestReport:
    """Bring one batch in.

    Args:
        connector: name of a connector.
        options: its options, as JSON.
        settings: by default those of the process.
        now: UTC; what counts as the future. By default the clock, read once.
        progress: show a bar on stderr.

    Raises:
        IngestError: see `flows.ingest.ingest`.
    """
    started = time.perf_counter()
    where = settings or process_settings()
    source = connector_by_name(connector, **options or {})
    with lake_lock(where, wait_s=LOCK_WAIT_S):
        drop_leftovers(where)
        moment = now or datetime.now(UTC)
        batch_id = new_batch_id(moment)  # in here: ids stand in the order of the commits
        try:
            folder = stage_task(source, where, batch_id, moment, progress)
        except BatchRefusedError as refused:
            create_markdown_artifact(str(refused), key="ingest-refused", description="a batch that broke a batch rule")
            alarm("batch-refused", str(refused))
            raise
        staged = Staged.load(folder)
        committed = commit_task(folder, where)
        source.committed()
    report = report_of(staged, committed, time.perf_counter() - started)
    show(report)
    share = report.rejected / max(report.read, 1)
    if share > where.max_rejected_share:  # of a source that is never refused
        told = f"{share:.1%} of {report.read:,} rows of {report.source} were rejected and the others taken"
        alarm("batch-refused", f"{told}: kairos quarantine show {report.batch_id}")
    return report


def show(report: IngestReport) -> None:
    """The report as artifacts of the run: counts, and a link to the Data Docs."""
    counts = {
        "read": report.read,
        "accepted": report.accepted,
        "already known": report.already_known,
        "rejected": report.rejected,
        **{f"rejected: {rule}": rows for rule, rows in report.by_rule.items()},
        **{f"warning: {rule}": rows for rule, rows in report.warnings.items()},
        "items": report.items,
        "users": report.users,
    }
    create_table_artifact(
        [{"what": what, "rows": rows} for what, rows in counts.items()],
        key="ingest-counts",
        description=f"batch {report.batch_id} from {report.source}",
    )
    create_link_artifact(report.data_docs.as_uri(), link_text="Data Docs", key="ingest-data-docs")
