"""The figure `throughput`: requests a second of one worker with 16 clients, beside the floors."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from benchmarks.serving.floor import SERVICE as FLOOR_SERVICE
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.synthetic import shop_of
from benchmarks.serving.turns import FLOOR, LEAN, OURS, in_turns, three_sides, whole

CLIENTS: Final = 16
SHARE: Final = 40.0
"""Per cent of the floor's."""


def measure(plan: Plan) -> dict[str, Any]:
    """The figure."""
    with running(**shop_of(plan.items)) as ours, running(FLOOR_SERVICE) as floor:
        measured = in_turns(three_sides(ours, floor), shop(), plan, CLIENTS)
    sides = whole(measured)
    per_s = {name: round(median(part.per_s for part in parts), 1) for name, parts in measured.items()}
    share = round(100 * per_s[OURS] / per_s[FLOOR], 1)
    failures = {name: side.failures for name, side in sides.items() if side.failures}
    return {
        "throughput": figure(
            share,
            "% of the floor",
            SHARE,
            share >= SHARE and not failures,
            clients=CLIENTS,
            per_s=per_s,
            share_of_the_lean_floor=round(100 * per_s[OURS] / per_s[LEAN], 1),
            latency={name: percentiles_ms(side.times()) for name, side in sides.items()},
            answers=dict(sides[OURS].marks),
            failures=failures,
        )
    }
