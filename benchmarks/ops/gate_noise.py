"""Whether the gate takes noise for a loss or for a gain: the champion's own training, with another seed each time."""

from __future__ import annotations

from typing import Any, Final

import bentoml

from benchmarks.ops.own_home import own_home
from flows.bundles import publish_bundle
from flows.gate import judge
from flows.train import train_bundle
from infra.settings import settings

HOUSEHOLDS: Final = 600
"""Of 2,469: a training takes a minute and not five."""
SEEDS: Final = tuple(range(101, 111))


def measure() -> dict[str, Any]:
    """The figure: how many of the challengers are refused, or called an improvement."""
    with own_home(HOUSEHOLDS):
        found = [_judged(seed) for seed in SEEDS]
    wrong = sum(not each["accepted"] or each["improvement"] for each in found)
    return {
        "value": wrong,
        "unit": f"of {len(found)} equal challengers refused, or called an improvement",
        "target": 0,
        "met": wrong == 0,
        "detail": {"challengers": found, "households": HOUSEHOLDS},
    }


def _judged(seed: int) -> dict[str, Any]:
    tag = publish_bundle(train_bundle(settings().model_copy(update={"seed": seed})))
    try:
        decision = judge(settings(), tag)
    finally:
        bentoml.models.delete(tag)
    quality = {f.check: dict(f.figures) for f in decision.findings if f.check.startswith("quality")}
    print(f"  seed {seed}: {decision.verdict} {decision.reasons or ''}", flush=True)
    return {
        "seed": seed,
        "accepted": decision.accepted,
        "improvement": decision.improvement,
        "reasons": decision.reasons,
        "quality": quality,
    }
