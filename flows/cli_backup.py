"""`kairos backup` and `kairos restore`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_flows import run_flow
from infra.settings import settings

# The commands import what they run: the frameworks take seconds to load, and --help should not.


def backup(
    into: Annotated[Path | None, typer.Argument(help="Folder of the backups; unset: KAIROS_BACKUPS")] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="How many backups stay there; unset: KAIROS_BACKUPS_KEPT")
    ] = None,
) -> None:
    """Write one whole backup of KAIROS_HOME, while everything runs."""
    from flows.backup_flow import backup_flow
    from flows.present import console

    made = run_flow(backup_flow, into, keep)
    about = made.manifest
    console.print(f"Backup: {made.folder}", soft_wrap=True, highlight=False)
    console.print(f"{len(about.files):,} files, {about.bytes / 1e6:,.1f} MB; in service: {about.champion or 'nothing'}")
    for sentence in about.left_out:
        console.print(f"Not in it: {sentence}", soft_wrap=True)
    for old in made.removed:
        console.print(f"Removed: {old}", soft_wrap=True, highlight=False)


def restore(
    backup: Annotated[Path, typer.Argument(help="A backup's folder, as `kairos backup` printed it")],
    force: Annotated[bool, typer.Option("--force", help="Move a home that is not empty aside")] = False,
) -> None:
    """Make KAIROS_HOME what it was when a backup was made. The backup's files are checked first."""
    from flows.present import console
    from flows.restore import restore as bring_back

    config = settings()
    done = bring_back(backup, config, now=datetime.now(UTC), force=force)
    about = done.manifest
    console.print(f"{config.home} is as of {about.made_at:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True, highlight=False)
    if done.aside:
        console.print(f"What was there is in {done.aside}", soft_wrap=True, highlight=False)
    for sentence in about.left_out:
        console.print(f"Was not in the backup: {sentence}", soft_wrap=True)
    if done.moved:
        from flows.features import apply_definitions

        console.print("It was somewhere else, and Feast's registry is told so; by hand: kairos features apply")
        apply_definitions(config)
    console.print("Next: kairos status, kairos serve")
