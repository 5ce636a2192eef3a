"""`kairos capacity`: what a shop of a size needs, from what was measured."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.settings import settings


def capacity(
    users: Annotated[float, typer.Option(min=1, help="How many there are")],
    items: Annotated[float, typer.Option(min=1, help="How many there are")],
    events_per_s: Annotated[float, typer.Option(min=0, help="Around the clock")],
    requests_per_s: Annotated[
        float | None, typer.Option(min=0, help="Recommendations asked for; unset: a tenth of the events")
    ] = None,
    days: Annotated[float, typer.Option(min=0, help="Of events in the lake, which forgets none")] = 365,
    log_days: Annotated[float | None, typer.Option(min=0, help="In the log; unset: KAIROS_EVENT_LOG_DAYS")] = None,
    redis_gb: Annotated[float, typer.Option(min=0.1, help="Memory of the one Redis server")] = 256,
) -> None:
    """What a shop of this size needs, by the unit costs in the reports of the benchmarks, with the arithmetic."""
    from flows.capacity import Shop, first_saturated, needs
    from flows.present import console, show_rows
    from flows.unit_costs import UnitCosts

    config = settings()
    asked = Shop(
        users=users,
        items=items,
        events_per_s=events_per_s,
        requests_per_s=events_per_s / 10 if requests_per_s is None else requests_per_s,
        days=days,
        log_days=config.event_log_days if log_days is None else log_days,
        moments=config.training_cuts + 2,  # the training cuts, the cut of the holdout, the newest event
        redis_gb=redis_gb,
    )
    found = needs(asked, UnitCosts.of(config.reports))
    show_rows("Capacity", [need.row() for need in found])
    console.print(f"Saturated first: {first_saturated(found).part}. What to do then: docs/capacity.md")
