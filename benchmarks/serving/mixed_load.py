"""The load under which parts are killed and models swapped: clients that ask and clients that tell."""

from __future__ import annotations

from typing import Final

from benchmarks.serving.load import Load
from benchmarks.serving.plan import Plan
from benchmarks.serving.sample import Shop
from benchmarks.serving.traffic import Events, Recommends, Traffic

ASKING: Final = 64
TELLING: Final = 32
"""So many clients that one is free whenever a request is due, even while answers take a second."""
BATCH: Final = 5
"""Events to a request."""
FRESH_EVERY: Final = 3
"""Every so many events one is by a user made up here, whose features can be checked one by one."""


def mixed(
    port: int, seconds: float, people: Shop, prefix: str, plan: Plan
) -> tuple[tuple[Load, Traffic], tuple[Load, Traffic]]:
    """Recommendations and events, open loop: requests go on arriving whatever happens to the service."""
    return (
        (Load(port, seconds, ASKING, plan.asking_per_s), Recommends(people.users)),
        (Load(port, seconds, TELLING, plan.telling_per_s), Events(people.events, prefix, BATCH, FRESH_EVERY)),
    )


def described(plan: Plan) -> str:
    """The load in words."""
    return f"{plan.asking_per_s:g} recommendations and {plan.telling_per_s:g} x {BATCH} events a second, open loop"
