"""`kairos gate`, `approve`, `rollback` and `decisions`: what may go into service, and who said so."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli_flows import run_flow
from infra.settings import settings

SHOWN = 20

By = Annotated[
    str | None, typer.Option(help="Who decides, for the record; unset: KAIROS_OPERATOR, and without it your user name")
]


def gate(
    tag: Annotated[str | None, typer.Argument(help="A published model; unset: the champion, by itself")] = None,
) -> None:
    """Judge a published model beside the champion; nothing is put into service. The exit code is 1 if it is refused."""
    from flows.decisions import record
    from flows.gate import judge
    from flows.present import console, show_rows
    from models import registry

    config = settings()
    with console.status("comparing on the newest holdout"):
        decision = judge(config, tag or registry.champion(config.champion).tag)
    record(config, decision)
    show_rows(f"{decision.challenger}: {decision.verdict}", decision.rows())
    if not decision.accepted:
        raise typer.Exit(1)


def approve(
    tag: Annotated[str, typer.Argument(help="A published model that the gate has judged")],
    because: Annotated[str, typer.Option(help="The reason, which is recorded with your name")],
    by: By = None,
) -> None:
    """Put a model into service whatever the gate said of it."""
    from flows.present import console
    from flows.publish import approve_flow

    console.print(f"In service: {run_flow(approve_flow, tag, because, by)}")


def rollback(
    to: Annotated[str | None, typer.Option(help="Tag of an earlier champion; unset: the one before")] = None,
    because: Annotated[str, typer.Option(help="The reason, which is recorded with your name")] = "",
    by: By = None,
) -> None:
    """Put the champion before back into service; again, and it is the one before that."""
    from flows.operator import operator
    from flows.present import console
    from flows.rollbacks import roll_back

    config = settings()
    champion = roll_back(config, to, operator(config, by), because.strip())
    console.print(f"In service: {champion.tag}; {len(champion.before)} before it to go back to", soft_wrap=True)


def decisions() -> None:
    """What was decided of models, and who went back to an earlier one; newest first."""
    from flows.decisions import Decision
    from flows.decisions import decisions as decided
    from flows.present import show_rows
    from flows.rollbacks import Rollback, rollbacks

    config = settings()
    known: list[Decision | Rollback] = [*decided(config), *rollbacks(config)]
    newest = sorted(known, key=lambda one: one.at, reverse=True)[:SHOWN]
    show_rows("Decisions" if newest else "No decision yet", [one.summary() for one in newest])
