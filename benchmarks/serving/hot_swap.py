"""The figure `hot_swap`: another champion is crowned under load and rolled back, several times."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from benchmarks.serving.load import loading
from benchmarks.serving.mixed_load import described, mixed
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.traffic import RECOMMEND
from infra.settings import settings
from models import registry

SWAP_TAKES_S: Final = 3.0
"""How long after a coronation the service looks at the pointer and loads the model; requests then count as within."""


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: failed requests while two copies of the champion take turns."""
    people, pointer = shop(), settings().champion
    first = registry.champion(pointer).tag
    second = registry.publish(registry.bundle_path(first), {})
    seconds = plan.before_s + plan.swaps * plan.swap_every_s + plan.swap_every_s
    crowned = []
    with running() as service:
        with loading(*mixed(service.port, seconds, people, "hot-swap-", plan)) as loads:
            time.sleep(plan.before_s)
            for number in range(plan.swaps):
                if number % 2:
                    registry.rollback(pointer)
                else:
                    registry.crown(pointer, second)
                crowned.append(time.perf_counter())
                time.sleep(plan.swap_every_s)
            outcome = loads.outcome()
        in_service = service.health()["model_version"]
    registry.crown(pointer, first)
    failed = sum(outcome.failures.values())
    at = np.array(outcome.at)
    within = np.any([(at >= moment) & (at < moment + SWAP_TAKES_S) for moment in crowned], axis=0)
    asked = np.array([path == RECOMMEND for path in outcome.path])
    taken = np.array(outcome.seconds)
    versions = {tag: outcome.marks[tag.partition(":")[2]] for tag in (first, second)}
    is_followed = all(versions.values()) and in_service == (second if plan.swaps % 2 else first).partition(":")[2]
    return {
        "hot_swap": figure(
            failed,
            "failed requests",
            0,
            failed == 0 and is_followed,
            load=described(plan),
            swaps=plan.swaps,
            requests=len(outcome.status),
            failures=outcome.failures,
            answers_by_model=versions,
            followed_to_the_last=is_followed,
            latency_during_swaps=percentiles_ms(taken[within & asked]),
            latency_otherwise=percentiles_ms(taken[~within & asked]),
        )
    }
