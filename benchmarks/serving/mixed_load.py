"""The load under which parts are killed and models swapped: clients that ask and clients that tell."""

from __future__ import annotations

from typing import Final

from benchmarks.serving.load import Load
from benchmarks.serving.sample import Shop
from benchmarks.serving.traffic import Events, Recommends, Traffic

ASKING, ASKING_PER_S = 64, 40.0
TELLING, TELLING_PER_S = 32, 10.0
"""So many clients that one is free whenever a request is due, even while answers take a second."""
BATCH: Final = 5
"""Events to a request."""
FRESH_EVERY: Final = 3
"""Every so many events one is by a user made up here, whose features can be checked one by one."""


def mixed(port: int, seconds: float, people: Shop, prefix: str) -> tuple[tuple[Load, Traffic], tuple[Load, Traffic]]:
    """Recommendations and events, open loop: requests go on arriving whatever happens to the service."""
    return (
        (Load(port, seconds, ASKING, ASKING_PER_S), Recommends(people.users)),
        (Load(port, seconds, TELLING, TELLING_PER_S), Events(people.events, prefix, BATCH, FRESH_EVERY)),
    )


LOAD: Final = f"{ASKING_PER_S:g} recommendations and {TELLING_PER_S:g} x {BATCH} events a second, open loop"
