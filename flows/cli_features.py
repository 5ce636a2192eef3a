"""`kairos features`: from an edited feature file to values in training and in service."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from flows.cli_flows import run_flow
from infra.settings import settings

app = typer.Typer(
    invoke_without_command=True,
    help="Compute the features that are missing, register them with Feast and bring them online; or one step of it.",
)

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f%z"]

# The commands import what they run: the frameworks take seconds to load, and --help should not.


@app.callback()
def features(context: typer.Context) -> None:
    """Compute the features that are missing, register them with Feast and bring them online.

    A command after it does less, or more: see below.
    """
    if context.invoked_subcommand is not None:
        return
    from flows.features import features_flow
    from flows.present import show_rows

    report = run_flow(features_flow)
    show_rows("Features", [{"view": view, "new rows": f"{rows:,}"} for view, rows in report.rows.items()])


@app.command()
def plan() -> None:
    """What the feature files would change: views, columns, snapshots, and the models that read them."""
    from flows.feature_plan import plan as planned
    from flows.present import console, show_rows

    rows = planned(settings()).rows()
    if rows:
        show_rows("Plan", rows)
        console.print("Next: kairos features apply, or kairos features, which brings it online, too")
    else:
        console.print("Nothing to do: the feature files are as registered, and every snapshot is up to date")


@app.command()
def apply() -> None:
    """Carry out the plan: compute the snapshots that are missing and register the definitions."""
    from flows.feature_plan import apply as carry_out
    from flows.present import show_rows, snapshot_progress

    with snapshot_progress() as progress:
        rows = carry_out(settings(), f"apply-{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}", progress)
    show_rows("Registered", [{"view": view, "new rows": f"{n:,}"} for view, n in rows.items()])


@app.command()
def backfill(
    names: Annotated[list[str] | None, typer.Argument(help="Features; none: all that models learn from")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="First moment, UTC; unset: the Monday a year back")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="Last moment, UTC; unset: the newest event")
    ] = None,
    every: Annotated[float, typer.Option(min=0.01, help="Distance of the moments in days")] = 7.0,
) -> None:
    """Compute features at moments of the past and keep them there. After a kill it goes on where it stopped."""
    from flows.feature_backfill import backfill as fill
    from flows.present import console, show_rows, snapshot_progress

    run = f"backfill-{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    with snapshot_progress() as progress:
        report = fill(
            settings(),
            names or (),
            since=_utc(since),
            until=_utc(until),
            every=timedelta(days=every),
            run=run,
            progress=progress,
        )
    show_rows("Backfill", [{"feature": name, "new rows": f"{report.rows[name]:,}"} for name in report.features])
    console.print(
        f"{len(report.moments)} moments from {report.moments[0]:%Y-%m-%d %H:%M} to {report.moments[-1]:%Y-%m-%d %H:%M} "
        f"UTC: {report.written} snapshots computed, {report.already} were there. Registered.\nNext: kairos features"
    )


@app.command()
def refresh() -> None:
    """Item popularity and trends as of now: online, offline and in the packed item table. A service does it itself."""
    from flows.present import console, show_rows
    from flows.refresh import refresh_flow

    done = run_flow(refresh_flow)
    if done is None:
        console.print("Nothing was done: a service does it, others write item features just now, or there is no event.")
        return
    title = f"As of {done.moment:%Y-%m-%d %H:%M:%S} UTC, with {done.fresh:,} events that no ingest brought in yet"
    show_rows(title, [{"view": view, "rows changed": f"{rows:,}"} for view, rows in done.rows.items()])


def _utc(moment: datetime | None) -> datetime | None:
    """A time that names no zone is in UTC."""
    return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))


@app.command()
def lineage(
    feature: Annotated[str, typer.Argument(help="VIEW:FEATURE, e.g. user_activity:spend_30d")],
    entity: Annotated[str, typer.Argument(help="The user's or item's id, or the hour of the week")],
    at: Annotated[
        datetime | None,
        typer.Option(formats=TIMES, help="The value as it was known then, UTC; unset: the newest, and the online one"),
    ] = None,
) -> None:
    """Where a value comes from: its snapshot, the run that computed it, the batches and events that went in."""
    from feature_repo.lineage import lineage as trace
    from feature_repo.store import Features
    from flows.show_lineage import show_lineage

    show_lineage(trace(Features.open(settings()), feature, entity, _utc(at)))


@app.command("accept-drift")
def accept_drift() -> None:
    """Let the features as computed last be what later runs are compared with, however far they have moved."""
    from flows.present import console
    from flows.quality.check import accept_drift as accept

    accepted = accept(settings(), f"accepted-{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
    console.print(f"Accepted: {', '.join(accepted)}\nNext: kairos features")


@app.command()
def parity(
    events: Annotated[
        int, typer.Option(min=1, help="How many of the newest events, or of the logged requests")
    ] = 20_000,
    sample: Annotated[int | None, typer.Option(min=1, help="Look at so many users alone; unset: at all")] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="Compare what logged requests read, instead of a replay")
    ] = False,
) -> None:
    """Prove that online equals offline: replay events through the stream path, or look at logged requests.

    Nothing of the installation is changed. The exit code is 1 if a value differs; reports/parity.json tells all.
    """
    from feature_repo.parity.replay import replay
    from feature_repo.parity.requests import check_requests
    from flows.parity import per_view, write_parity
    from flows.present import console, show_rows, step_progress

    if requests and sample:
        raise typer.BadParameter("--sample is for a replay; of logged requests --events looks at the newest")
    with step_progress() as progress:
        if requests:
            report = check_requests(settings(), events, progress=progress)
        else:
            report = replay(settings(), events, sample, progress=progress)
    path = write_parity(report, settings())
    show_rows(
        f"{report.events:,} {'requests' if requests else 'events'}, {report.rows:,} online rows", per_view(report)
    )
    if report.first:
        rows = [{name: str(value)[:60] for name, value in asdict(difference).items()} for difference in report.first]
        show_rows(f"The first of {report.differences:,} differences", rows)
    for reason, count in report.left_out.items():
        console.print(f"left out: {count:,} rows: {reason}")
    console.print(f"Report: {path}", soft_wrap=True)
    if report.differences:
        raise typer.Exit(1)
