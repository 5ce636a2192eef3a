"""`kairos monitor`: are data, answers, outcomes and jobs as they were?"""

from __future__ import annotations

import typer

from flows.cli_flows import run_flow
from infra.settings import settings

app = typer.Typer(
    invoke_without_command=True,
    help="Look at incoming data, answers, outcomes and the freshness of every stage; or accept data that have changed.",
)

# The commands import what they run: the frameworks take seconds to load, and --help should not.


@app.callback()
def monitor(context: typer.Context) -> None:
    """Look at incoming data, answers, outcomes and the freshness of every stage.

    The exit code is 1 if something is out of order. Data are looked at once a day, the rest each time.
    """
    if context.invoked_subcommand is not None:
        return
    from flows.monitor import monitor_flow, rows
    from flows.present import console, show_rows

    looks = run_flow(monitor_flow)
    for look in looks:
        show_rows(f"{look.part}: {look.about}", rows(look))
    if any(look.broken for look in looks):
        console.print("docs/runbooks says what to do where it says NO.")
        raise typer.Exit(1)


@app.command("accept-data")
def accept_data() -> None:
    """The data are meant to be as they are: what was set aside is what later data are compared with."""
    from flows.monitoring.incoming import accept_data as accept
    from flows.present import console

    accepted = accept(settings())
    console.print(f"Accepted: {', '.join(accepted) or 'nothing was set aside'}", soft_wrap=True)
