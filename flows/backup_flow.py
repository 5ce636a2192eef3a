"""The backup as a Prefect flow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows.backup import Backup, back_up
from flows.naming import run_name
from flows.retries import again, may_pass
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings
from infra.settings import settings as process_settings


@task(name="back-up-home", **again(2, after_s=60), retry_condition_fn=may_pass, cache_policy=NO_CACHE)
def _back_up(settings: Settings, into: Path, keep: int) -> Backup:
    return back_up(settings, into, keep=keep, now=datetime.now(UTC))


@flow(name="backup", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["backup"])
def backup_flow(into: Path | None = None, keep: int | None = None, settings: Settings | None = None) -> Backup:
    """Back up the home.

    Args:
        into: folder of the backups; by default that of the settings.
        keep: how many stay there; by default as the settings say.
        settings: by default those of the process.

    Raises:
        BackupError, LakeBusyError, FeaturesBusyError, DiskFullError: see `flows.backup.back_up`.
    """
    where = settings or process_settings()
    made = _back_up(where, (into or where.backups_folder).absolute(), keep or where.backups_kept)
    lines = [
        f"`{made.folder}`: {len(made.manifest.files):,} files, {made.manifest.bytes / 1e6:,.1f} MB",
        *made.manifest.left_out,
    ]
    create_markdown_artifact(key="backup", markdown="\n\n".join(lines), description="what `kairos restore` takes")
    return made
