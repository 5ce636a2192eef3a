"""`kairos lake`: the care of the lake's files."""

from __future__ import annotations

import typer

from flows.cli_flows import run_flow

app = typer.Typer(no_args_is_help=True, help="The lake's files: merge the small ones.")

# The commands import what they run: the frameworks take seconds to load, and --help should not.


@app.command()
def compact() -> None:
    """Merge the small event files into large ones. The same rows, read faster; a second run finds nothing to do."""
    from flows.compaction_flow import compact_flow
    from flows.present import show_rows

    done = run_flow(compact_flow)
    row = {
        "files": f"{done.files_before:,} -> {done.files_after:,}",
        "rows": f"{done.rows:,}",
        "MB": f"{done.bytes_before / 1e6:,.1f} -> {done.bytes_after / 1e6:,.1f}",
    }
    show_rows("Event files of the lake", [row])
