"""`kairos tune`: the best choices of each model on a file of events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_options import Behaviours, Columns, Encoding, file_options, file_source
from infra.settings import settings

# The command imports what it runs: the frameworks take seconds to load, and --help should not.


def tune(
    events: Annotated[Path, typer.Option("--events", help="The events, CSV or Parquet")],
    report: Annotated[Path, typer.Option(help="Where the choices are written, .json, for kairos evaluate --tuned")],
    split: Annotated[str, typer.Option(help="leave-one-out or temporal:DATE")] = "leave-one-out",
    model: Annotated[str, typer.Option(help="A model's name, or all")] = "all",
    trials: Annotated[int | None, typer.Option(min=1, help="Configurations tried for each model; unset: 20")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Instead: so long for each model")] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="What a user had already counts, and may come again")
    ] = False,
    column: Columns = None,
    behaviour: Behaviours = None,
    encoding: Encoding = None,
) -> None:
    """Look for the choices with which each model ranks best on validation; all have the same budget.

    The test is left alone. Cut short and called again, the search goes on where it was.
    """
    from dataclasses import asdict, replace

    from flows.json_file import write_json
    from flows.present import console, show_tuning, step_progress
    from flows.tune_log import tune_log
    from models.tuning import BudgetConfig

    if trials is not None and minutes is not None:
        raise typer.BadParameter("--trials and --minutes are two budgets: give one of them")
    if report.suffix != ".json":
        raise typer.BadParameter(f"--report {report.name}: expected a .json")
    config = settings()
    budget = BudgetConfig(minutes=minutes, seed=config.seed)
    if trials is not None:
        budget = replace(budget, trials=trials)
    name, options = file_source(events, file_options(None, None, column, None, None, behaviour, encoding))
    with step_progress() as progress:
        found = tune_log(config, name, options, split, model=model, keep_seen=keep_seen, budget=budget, say=progress)
    show_tuning(found)
    write_json(report, asdict(found))
    console.print(f"Report: {report}\nNext: kairos evaluate with --tuned {report}", soft_wrap=True, highlight=False)
