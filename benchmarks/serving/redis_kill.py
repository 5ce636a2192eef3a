"""The figure `redis_kill`: Redis is killed under load, is away for ten seconds and comes back with what it had."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.serving.bed import Bed
from benchmarks.serving.ledger import Ledger
from benchmarks.serving.load import loading
from benchmarks.serving.mixed_load import described, mixed
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.traffic import EVENTS, RECOMMEND
from infra.settings import settings

PREFIX = "redis-kill-"


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: failed requests, and acknowledged events lost or doubled. Any answer but 2xx failed, 429 too."""
    people, ledger = shop(), Ledger()
    redis = Bed(Path(settings().home).parent).redis
    seconds = plan.before_s + plan.outage_s + plan.after_s
    with running() as service:
        with loading(*mixed(service.port, seconds, people, PREFIX, plan)) as loads:
            time.sleep(plan.before_s)
            killed = time.perf_counter()
            redis.kill()
            time.sleep(plan.outage_s)
            redis.start()
            back = time.perf_counter()
            outcome = loads.outcome()
        caught_up_s = ledger.settled_s(plan.settle_s)
        compared = ledger.compare(outcome)
        features = ledger.unknown_to_features(outcome, PREFIX)
    ledger.close()
    failed = sum(outcome.failures.values())
    value = failed + ledger.wrong(compared, features)
    meanwhile = outcome.between(killed, back)
    return {
        "redis_kill": figure(
            value,
            "requests failed, events lost or doubled",
            0,
            value == 0 and ledger.has_proof(compared, features) and caught_up_s is not None,
            load=described(plan),
            requests=len(outcome.status),
            failures=outcome.failures,
            failures_while_away=meanwhile.failures,
            away_s=round(back - killed, 1),
            log=compared,
            features=features,
            features_caught_up_s=caught_up_s,
            answers=dict(outcome.marks),
            latency={path: percentiles_ms(outcome.times(path)) for path in (RECOMMEND, EVENTS)},
            latency_while_away={path: percentiles_ms(meanwhile.times(path)) for path in (RECOMMEND, EVENTS)},
        )
    }
