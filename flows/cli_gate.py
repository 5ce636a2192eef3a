"""`kairos gate`, `kairos approve`, `kairos decisions`: what may go into service, and who said so."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.settings import settings

SHOWN = 20


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
) -> None:
    """Put a model into service whatever the gate said of it."""
    from flows.present import console
    from flows.publish import approve_flow

    console.print(f"In service: {approve_flow(tag, because)}")


def decisions() -> None:
    """What was decided of models, newest first."""
    from flows.decisions import decisions as recorded
    from flows.present import show_rows

    rows = [
        {
            "when (UTC)": decision.at[:19],
            "model": decision.challenger,
            "champion then": decision.champion or "",
            "decision": decision.verdict,
            "because": "; ".join(decision.reasons),
        }
        for decision in reversed(recorded(settings())[-SHOWN:])
    ]
    show_rows("Decisions" if rows else "No decision yet", rows)
