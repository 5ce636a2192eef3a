"""How long and how large everything is: in full, and short enough to see that it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """Seconds end in `_s`. Every figure's whole duration follows from these."""

    warm_up_s: float = 10.0
    """Before anything counts: caches fill, and the processor leaves its rest."""
    block_s: float = 5.0
    """Ours and the floors take turns, so long each: the speed of a shared machine varies by up to two."""
    rounds: int = 12
    items: int = 92_000
    many_items: int = 1_000_000
    events_s: float = 30.0
    """How long events arrive as fast as they are acknowledged."""
    event_clients: int = 8
    asking_per_s: float = 40.0
    """Recommendations in the background of a probe, or while parts are killed and models swapped; open loop."""
    telling_per_s: float = 10.0
    """Requests with events, beside them."""
    probes: int = 600
    """Events whose way into the next answer is watched."""
    outage_s: float = 10.0
    before_s: float = 10.0
    """Under load before a part is killed."""
    after_s: float = 20.0
    swaps: int = 8
    swap_every_s: float = 5.0
    soak_s: float = 1800.0
    soak_warm_up_s: float = 300.0
    fuzz_examples: int = 200
    """Per operation of the API."""
    settle_s: float = 120.0
    """The longest to wait for the features to catch up."""


FULL: Final = Plan()
QUICK: Final = Plan(
    warm_up_s=2.0,
    block_s=2.0,
    rounds=2,
    many_items=220_000,
    events_s=4.0,
    asking_per_s=8.0,
    telling_per_s=2.0,
    probes=20,
    outage_s=3.0,
    before_s=3.0,
    after_s=6.0,
    swaps=2,
    swap_every_s=4.0,
    soak_s=40.0,
    soak_warm_up_s=10.0,
    fuzz_examples=5,
    settle_s=60.0,
)
