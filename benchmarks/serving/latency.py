"""The figures `recommend_p50` and `recommend_p99`: one client, beside the floors."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.serving.floor import SERVICE as FLOOR_SERVICE
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.synthetic import catalogue, shop_of
from benchmarks.serving.turns import FLOOR, LEAN, OURS, in_turns, three_sides, whole

TIMES_FLOOR: Final = 3.0
P50_MS: Final = 5.0
P99_MS: Final = 15.0
SOME: Final = 100


def measure(plan: Plan) -> dict[str, Any]:
    """Both figures of one run."""
    asked, environment = shop(), shop_of(plan.items)
    with running(**environment) as ours, running(FLOOR_SERVICE) as floor:
        measured = in_turns(three_sides(ours, floor), asked, plan, clients=1)
    sides = whole(measured)
    times = {name: percentiles_ms(side.times()) for name, side in sides.items()}
    p50 = {name: [float(np.median(part.times())) for part in parts] for name, parts in measured.items()}
    allowed = round(min(TIMES_FLOOR * times[FLOOR]["p50_ms"], P50_MS), 3)
    failures = {name: side.failures for name, side in sides.items() if side.failures}
    value, slow = times[OURS]["p50_ms"], times[OURS]["p99_ms"]
    detail = {
        **times,
        "times the floor": round(value / times[FLOOR]["p50_ms"], 2),
        "times the floor, median of the rounds": round(
            median(a / b for a, b in zip(p50[OURS], p50[FLOOR], strict=True)), 2
        ),
        "times the lean floor": round(value / times[LEAN]["p50_ms"], 2),
        "answers": dict(sides[OURS].marks),
        "failures": failures,
        **catalogue(environment, asked.users[:SOME]),
    }
    return {
        "recommend_p50": figure(value, "ms", allowed, value <= allowed and not failures, **detail),
        "recommend_p99": figure(slow, "ms", P99_MS, slow <= P99_MS and not failures, **detail),
    }
