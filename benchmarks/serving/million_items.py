"""The figure `million_items`: the same users asking a champion of a million items, beside the real one, in turns."""

from __future__ import annotations

import shutil
import time
from typing import Any, Final

from benchmarks.serving.latency import catalogue
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.synthetic import enlarge
from benchmarks.serving.traffic import RECOMMEND
from benchmarks.serving.turns import OURS, in_turns, whole
from feature_repo.lake import Lake
from infra.settings import settings
from models import registry

TIMES: Final = 2.0
DAY_S: Final = 86_400.0
LARGE: Final = "synthetic"


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: how many times the p50 of the real catalogue."""
    began = time.perf_counter()
    environment = _large_home(plan.synthetic_items)
    made_s = round(time.perf_counter() - began, 1)
    with running() as real, running(**environment) as large:
        sides = {OURS: (real, RECOMMEND), LARGE: (large, RECOMMEND)}
        outcomes = whole(in_turns(sides, shop(), plan, clients=1))
        memory_mb = {name: round(service.memory_mb()) for name, (service, _) in sides.items()}
    latency = {name: percentiles_ms(outcome.times()) for name, outcome in outcomes.items()}
    times = round(latency[LARGE]["p50_ms"] / latency[OURS]["p50_ms"], 2)
    failures = {name: outcome.failures for name, outcome in outcomes.items() if outcome.failures}
    return {
        "million_items": figure(
            times,
            "times the p50 of the real catalogue",
            TIMES,
            times <= TIMES and not failures,
            items={OURS: catalogue()["items"], LARGE: plan.synthetic_items},
            latency=latency,
            answers=dict(outcomes[LARGE].marks),
            memory_mb=memory_mb,
            made_s=made_s,
            failures=failures,
        )
    }


def _large_home(n_items: int) -> dict[str, str]:
    """A home of its own for the large champion, over the same store and registry; its environment."""
    config = settings()
    home = config.home.with_name("large")
    home.mkdir()
    (home / "lake").symlink_to(config.lake.resolve())
    real = registry.bundle_path(registry.champion(config.champion).tag)
    # Newer than any refresh of the real items, which would take the further ones' features away.
    items_at = Lake(config.lake).newest_event().timestamp() + 365 * DAY_S
    large = enlarge(real, home / "bundle", n_items, items_at)
    tag = registry.publish(large, {})
    shutil.rmtree(large)  # gigabytes
    registry.crown(home / config.champion.name, tag)
    return {"KAIROS_HOME": str(home), "KAIROS_REGISTRY": str(config.feast / "registry.db")}
