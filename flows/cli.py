"""The command line: `kairos`. Every command runs the flow that a deployment runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import (
    cli_backup,
    cli_capacity,
    cli_features,
    cli_gate,
    cli_keys,
    cli_lake,
    cli_monitor,
    cli_platform,
    cli_quarantine,
    cli_tune,
)
from flows.cli_flows import run_flow
from flows.cli_options import (
    Behaviours,
    Columns,
    Encoding,
    Events,
    ItemColumns,
    Items,
    UserColumns,
    Users,
    file_options,
    file_source,
)
from flows.quiet import quiet_exit, quiet_frameworks
from infra.settings import PROJECT_ROOT, SettingsError, settings

app = typer.Typer(
    no_args_is_help=True,
    help="From a shop's events to live recommendations.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The commands import what they run: the frameworks take seconds to load, and --help should not.


@app.command()
def demo(
    events: Events = None,
    items: Items = None,
    users: Users = None,
    column: Columns = None,
    item_column: ItemColumns = None,
    user_column: UserColumns = None,
    behaviour: Behaviours = None,
    encoding: Encoding = None,
) -> None:
    """The whole pipeline on real shop data, or on your own with --events, and what came out of it."""
    from flows.demo import COMPLETE_JOURNEY, run_demo

    details = file_options(items, users, column, item_column, user_column, behaviour, encoding)
    if events is not None:
        run_flow(run_demo, settings(), *file_source(events, details))
    elif details:
        raise typer.BadParameter(f"{', '.join(details)} describe your own files: name them with --events")
    else:
        run_flow(run_demo, settings(), COMPLETE_JOURNEY, {})


@app.command()
def ingest(
    path: Annotated[Path | None, typer.Argument(help="Events, CSV or Parquet (or MovieLens 100K's folder)")] = None,
    connector: Annotated[
        str | None,
        typer.Option(
            help="complete-journey, csv, parquet, movielens-100k, event-log, postgres or spark; unset: by the path"
        ),
    ] = None,
    items: Items = None,
    users: Users = None,
    column: Columns = None,
    item_column: ItemColumns = None,
    user_column: UserColumns = None,
    behaviour: Behaviours = None,
    encoding: Encoding = None,
    table: Annotated[str | None, typer.Option(help="postgres: the table of events")] = None,
    query: Annotated[str | None, typer.Option(help="postgres: the events as SQL, instead of --table")] = None,
    new_by: Annotated[
        str | None, typer.Option(help="postgres: a column that only grows; only rows beyond the last ingest's are read")
    ] = None,
    format: Annotated[str | None, typer.Option(help="spark: of the path, by default parquet")] = None,
) -> None:
    """Validate a batch of events and add it to the lake. The same batch again adds nothing."""
    from flows.ingest_flow import ingest_flow
    from flows.present import console, show_rows

    if path is None and connector is None:
        raise typer.BadParameter("name a file, or a --connector that needs none: complete-journey, event-log")
    details = file_options(items, users, column, item_column, user_column, behaviour, encoding)
    given = {"table": table, "query": query, "new_by": new_by, "format": format}
    details |= {option: value for option, value in given.items() if value}
    if path is not None and connector in (None, "csv", "parquet"):
        name, options = file_source(path, details)
        report = run_flow(ingest_flow, connector or name, options, progress=True)
    else:
        options = {**({"path": str(path)} if path else {}), **details}
        report = run_flow(ingest_flow, connector or "", options, progress=True)
    counts = ("read", "accepted", "already_known", "rejected", "items", "users")
    show_rows(f"Batch {report.batch_id}", [{key: f"{getattr(report, key):,}" for key in counts}])
    for what, rules in (("rejected", report.by_rule), ("warning", report.warnings)):
        for rule, rows in rules.items():
            console.print(f"{what}: {rule}: {rows:,} rows")
    for note in report.notes:
        console.print(note)
    console.print(f"Data Docs: {report.data_docs}", soft_wrap=True)


app.add_typer(cli_features.app, name="features")


@app.command()
def train(
    anew: Annotated[bool, typer.Option("--anew", help="Fit everything again, though the champion could go on")] = False,
) -> None:
    """Train the hybrid on the features as they stand, from the champion on where that will do, and save its bundle."""
    from flows.present import console
    from flows.train import train_flow

    console.print(f"Bundle: {run_flow(train_flow, anew)}\nNext: kairos publish")


@app.command()
def publish(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle's folder; unset: the one trained last")] = None,
) -> None:
    """Put a bundle into the model store and, if the gate lets it, into service, and build its Bento."""
    from flows.present import console
    from flows.publish import publish_flow
    from models.registry import champion

    tag = run_flow(publish_flow, bundle)
    if (held := champion(settings().champion).tag) == tag:
        console.print(f"In service: {tag}\nNext: kairos serve")
    else:
        console.print(f"Nothing new: the newest bundle is {tag} already, and {held} is in service.", soft_wrap=True)
        console.print("Name the bundle's folder to publish it again.")


@app.command("catch-up")
def catch_up(
    as_judged: Annotated[
        bool, typer.Option("--as-judged", help="Back: have it answer as it was judged, until this is run without it")
    ] = False,
) -> None:
    """Have the champion learn what happened since it was trained, its holdout included, and answer with it."""
    from flows.catching_up import catch_up_flow
    from flows.present import console
    from models import registry

    pointer = settings().champion
    held = registry.champion(pointer)
    if as_judged:
        registry.catch_up(pointer, held.tag, of=held.tag)
        console.print(f"{held.tag} answers as it was judged", soft_wrap=True)
        return
    if held.is_held:
        registry.catch_up(pointer, None, of=held.tag)
    console.print(run_flow(catch_up_flow), soft_wrap=True)


app.command()(cli_platform.up)
app.command()(cli_platform.down)
app.command()(cli_platform.deploy)
app.command()(cli_platform.notify)
app.command()(cli_gate.gate)
app.command()(cli_gate.approve)
app.command()(cli_gate.decisions)
app.command()(cli_gate.rollback)


@app.command()
def evaluate(
    tag: Annotated[str | None, typer.Argument(help="A published model; unset: the champion")] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="Evaluate models on these events instead, CSV or Parquet")
    ] = None,
    items: Items = None,
    split: Annotated[str, typer.Option(help="leave-one-out or temporal:DATE; with --events")] = "leave-one-out",
    model: Annotated[str, typer.Option(help="A model's name, or hybrid: all and their sum; with --events")] = "hybrid",
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="What a user had already counts, and may come again; with --events")
    ] = False,
    tuned: Annotated[
        Path | None, typer.Option(help="Make the choices that kairos tune wrote into this report; with --events")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the figures there too: .json, or .html for a page; with --events")
    ] = None,
    column: Columns = None,
    behaviour: Behaviours = None,
    encoding: Encoding = None,
) -> None:
    """Rank for every user of the newest holdout and show the leaderboard; or compare models on a file of events."""
    if events is None:
        if items or tuned or report or keep_seen or (split, model) != ("leave-one-out", "hybrid"):
            raise typer.BadParameter(
                "--items, --split, --model, --keep-seen, --tuned and --report compare models on a file: add --events"
            )
        from flows.evaluate import evaluate_flow
        from flows.present import show_leaderboard, show_probabilities

        evaluation = run_flow(evaluate_flow, tag)
        show_leaderboard(evaluation.leaderboard)
        show_probabilities(evaluation.probabilities)
        return
    from flows.evaluate_log import evaluate_log
    from flows.present import console, show_log_evaluation, write_log_evaluation

    if tag is not None:
        raise typer.BadParameter("--events compares models on those events: leave the published model's tag out")
    if report is not None and report.suffix not in (".json", ".html"):
        raise typer.BadParameter(f"--report {report.name}: expected a .json or .html")
    name, options = file_source(events, file_options(items, None, column, None, None, behaviour, encoding))
    with console.status("") as status:
        found = evaluate_log(
            settings(), name, options, split, model=model, keep_seen=keep_seen, tuned=tuned, say=status.update
        )
    show_log_evaluation(found)
    if report is not None:
        write_log_evaluation(report, found, str(events))
        console.print(f"Report: {report}", soft_wrap=True, highlight=False)


app.command()(cli_tune.tune)


@app.command()
def benchmark(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="beauty, ml1m, gowalla, retailrocket, frappe, cold, topk_speed, train_speed, rerank; unset: all"
        ),
    ] = None,
) -> None:
    """What the models reach on public data, beside what papers say. The sets lie where KAIROS_DATASETS says."""
    if not (PROJECT_ROOT / "benchmarks").is_dir():
        raise typer.BadParameter("the benchmarks are no part of the package: install Kairos from a checkout of it")
    command = [sys.executable, "-m", "benchmarks.models", *(names or [])]
    environment = dict(os.environ)
    if sets := environment.get("KAIROS_DATASETS"):
        environment["KAIROS_DATASETS"] = str(Path(sets).absolute())
    raise typer.Exit(subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=False).returncode)


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="The user's id")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many items")] = 10,
    novel: Annotated[bool, typer.Option("--novel", help="Only items not bought before")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="How likely the user takes each within the training's horizon")
    ] = False,
) -> None:
    """What the champion recommends to a user now, beside what the user did lately."""
    from flows.present import show_answer
    from flows.serving import recommend as ask

    show_answer(ask(settings(), user, k, novel_only=novel, probabilities=probabilities))


@app.command()
def replay(request_id: Annotated[str, typer.Argument(help="From an answer of the service")]) -> None:
    """Make a logged answer again, from the log and its bundle, and show both. The exit code is 1 if they differ."""
    from flows.present import show_replayed
    from flows.replay_answer import replay_answer

    replayed = replay_answer(request_id, settings())
    show_replayed(replayed)
    if not replayed.is_same:
        raise typer.Exit(1)


@app.command()
def serve() -> None:
    """Start the service and print a curl line that works. Ctrl-C, or SIGTERM to this process, stops it."""
    from feature_repo.lake import Lake
    from flows.present import console
    from flows.serving import clock_start, curl_lines, recommend, start_service

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the service would outlive us
    config = settings()
    lake = Lake(config.lake)
    user = lake.newest_user()
    item = [r.item_id for r in recommend(config, user, 10).items[-1:]]
    process, url = start_service(config)
    try:
        start = clock_start(config)
        if start:
            console.print(f"The data end at {start:%Y-%m-%d %H:%M} UTC, so the service's clock starts there.")
        console.print(
            f"\nReady: {url} (OpenAPI page), {url}/metrics. Ask, tell what happened, ask again:\n", style="bold"
        )
        for line in curl_lines(url, user, item, with_key=config.require_keys or config.keys_file.exists()):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(process.wait())
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()


@app.command()
def status() -> None:
    """What data, features, model and service there are, and how fresh."""
    from flows.present import show_status
    from flows.status import status as current

    show_status(current(settings()))


@app.command()
def doctor() -> None:
    """Look the installation over and say what is wrong and what to do. The exit code is 1 if there is an error."""
    from flows.doctor import diagnose
    from flows.present import console, show_rows

    with console.status("looking"):
        found = diagnose(settings())
    rows = [{"part": each.part, "": each.verdict, "found": each.said, "to do": each.todo} for each in found]
    show_rows("Kairos", rows)
    if any(each.verdict == "error" for each in found):
        raise typer.Exit(1)


@app.command()
def prune(
    days: Annotated[
        float | None, typer.Option(min=1, help="What is older may go; unset: KAIROS_KEEP_DAYS, and without it nothing")
    ] = None,
) -> None:
    """Remove old rejected rows, training runs, and models that nothing leads to any more. Events stay for good."""
    from dataclasses import asdict

    from flows.present import show_rows
    from flows.prune_flow import prune_flow

    if not (days or settings().keep_days):
        raise typer.BadParameter("nothing says what is old: name --days, or set KAIROS_KEEP_DAYS")
    show_rows("Removed", [asdict(run_flow(prune_flow, days))])


app.command()(cli_capacity.capacity)
app.command()(cli_backup.backup)
app.command()(cli_backup.restore)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_lake.app, name="lake")
app.add_typer(cli_monitor.app, name="monitor")
app.add_typer(cli_quarantine.app, name="quarantine")


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and exit code 1.

    KAIROS_DEBUG=1 shows logs and stack traces.
    """
    quiet_exit()
    # Without a Prefect server of yours each command starts one; on a busy laptop that takes more than the default 20 s.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    debug = bool(os.environ.get("KAIROS_DEBUG"))
    if not debug:
        quiet_frameworks()
    try:
        app()
    except _expected_errors() as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _expected_errors() -> tuple[type[BaseException], ...]:
    """Errors that tell the user what to do."""
    from feature_repo.errors import FeatureError
    from flows.errors import (
        BackupError,
        BentoError,
        IngestError,
        MissingFigureError,
        ModelRefusedError,
        MonitorError,
        PlatformError,
        ReplayError,
        ServeError,
        SplitError,
        TunedReportError,
    )
    from infra.keys import KeysError
    from models.errors import ModelError
    from models.registry import NoChampionError

    return (
        SettingsError, KeysError, FeatureError, IngestError, BackupError, BentoError, ServeError, ReplayError,
        SplitError, TunedReportError, MissingFigureError, ModelRefusedError, MonitorError, PlatformError, ModelError,
        NoChampionError,
    )  # fmt: skip
