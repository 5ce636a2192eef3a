"""The figure `million_items`: the same users asking a champion of many more items, in turns."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.synthetic import shop_of
from benchmarks.serving.traffic import RECOMMEND
from benchmarks.serving.turns import OURS, in_turns, whole

TIMES: Final = 2.0
MANY: Final = "kairos, many items"


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: how many times the p50 of the usual catalogue."""
    with running(**shop_of(plan.items)) as usual, running(**shop_of(plan.many_items)) as many:
        sides = {OURS: (usual, RECOMMEND), MANY: (many, RECOMMEND)}
        outcomes = whole(in_turns(sides, shop(), plan, clients=1))
        memory_mb = {name: round(service.memory_mb()) for name, (service, _) in sides.items()}
    latency = {name: percentiles_ms(outcome.times()) for name, outcome in outcomes.items()}
    times = round(latency[MANY]["p50_ms"] / latency[OURS]["p50_ms"], 2)
    failures = {name: outcome.failures for name, outcome in outcomes.items() if outcome.failures}
    return {
        "million_items": figure(
            times,
            f"times the p50 of {plan.items} items",
            TIMES,
            times <= TIMES and not failures,
            items={OURS: plan.items, MANY: plan.many_items},
            latency=latency,
            answers=dict(outcomes[MANY].marks),
            memory_mb=memory_mb,
            failures=failures,
        )
    }
