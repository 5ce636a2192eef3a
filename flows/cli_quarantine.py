"""`kairos quarantine`: look at the rejected rows, take them out to be fixed, and bring them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_flows import run_flow
from infra.settings import settings

app = typer.Typer(no_args_is_help=True, help="Rejected rows: list them, fix them, bring them in.")

Batch = Annotated[str, typer.Argument(help="Batch id, from `kairos quarantine list`")]

# The commands import what they run: the frameworks take seconds to load, and --help should not.


@app.command("list")
def list_() -> None:
    """The batches that have rejected rows, and how many of those are still open."""
    from flows.present import show_rows
    from flows.quarantine import list_batches

    rows = [
        {
            "batch": b.batch_id,
            "source": b.source,
            "open": b.open,
            "resolved": b.resolved,
            "rules": ", ".join(f"{r}: {n}" for r, n in b.by_rule.items()),
        }
        for b in list_batches(settings().quarantine)
    ]
    show_rows("Quarantine", rows)


@app.command()
def show(
    batch: Batch,
    limit: Annotated[int, typer.Option(min=1, help="How many rows")] = 20,
    out: Annotated[Path | None, typer.Option(help="Write all open rows to this CSV instead, to be fixed there")] = None,
) -> None:
    """A batch's rejected rows, with the rules that each breaks."""
    from flows.present import console, show_rows
    from flows.quarantine import RESOLVED_BY, ROW, RULES, TABLE, show_batch
    from flows.replay import current_rows, export_rows

    if out is not None:
        rows = export_rows(settings().quarantine, batch, out)
        console.print(
            f"{rows:,} open rows in {out}\nFix them there, then: kairos quarantine replay {batch} --fixed {out}",
            soft_wrap=True,
        )
        return
    held = show_batch(settings().quarantine, batch).slice(0, limit)
    values = current_rows(held)
    names = dict.fromkeys(name for row in values for name in row)
    about = held.select([TABLE, ROW, RULES, RESOLVED_BY]).to_pylist()
    shown = [
        {
            TABLE: a[TABLE],
            ROW: a[ROW],
            "state": f"resolved by {a[RESOLVED_BY]}" if a[RESOLVED_BY] else "open",
            RULES: ", ".join(a[RULES]),
            **{name: row.get(name, "") for name in names},
        }
        for a, row in zip(about, values, strict=True)
    ]
    show_rows(f"Batch {batch}", shown)


@app.command()
def replay(
    batch: Batch,
    fixed: Annotated[
        Path | None,
        typer.Option(help="The fixed rows, from `show --out`; unset: the open rows as they are, if rules have changed"),
    ] = None,
) -> None:
    """Bring a batch's open rows through the rules again and into the lake; what breaks a rule still stays here."""
    from flows.present import console, show_rows
    from flows.replay import replay_flow

    report = run_flow(replay_flow, batch, fixed)
    counts = ("replayed", "resolved", "already_known", "already_resolved", "open")
    show_rows(f"Replay of {batch}", [{name: f"{getattr(report, name):,}" for name in counts}])
    for (table, row), rules in list(report.broken.items())[:20]:
        console.print(f"still rejected: {table} row {row}: {', '.join(rules)}")
    for rule, rows in report.by_rule.items():
        console.print(f"still rejected: {rule}: {rows:,} rows")
    if report.resolved:
        console.print(f"In the lake as batch {report.batch_id}")
    if report.data_docs:
        console.print(f"Data Docs: {report.data_docs}", soft_wrap=True)
