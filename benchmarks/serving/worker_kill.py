"""The figure `worker_kill`: a worker is killed under load; what it had acknowledged stays."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.serving.ledger import Ledger
from benchmarks.serving.load import Outcome, loading
from benchmarks.serving.mixed_load import described, mixed
from benchmarks.serving.numbers import figure
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop

PREFIX = "worker-kill-"


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: acknowledged events that are lost or doubled. Requests that the killed worker was at fail, and are
    counted apart; so are those that nobody takes until there is a new one."""
    people, ledger = shop(), Ledger()
    seconds = plan.before_s + plan.outage_s + plan.after_s
    with running() as service:
        with loading(*mixed(service.port, seconds, people, PREFIX, plan)) as loads:
            time.sleep(plan.before_s)
            [worker, *others] = service.workers()
            killed = time.perf_counter()
            worker.kill()
            outcome = loads.outcome()
        is_replaced = any(process.pid != worker.pid for process in service.workers())
        caught_up_s = ledger.settled_s(plan.settle_s)
        compared = ledger.compare(outcome)
        features = ledger.unknown_to_features(outcome, PREFIX)
    ledger.close()
    value = ledger.wrong(compared, features)
    is_proven = ledger.has_proof(compared, features)
    silent_s = _silence_s(outcome, killed)
    return {
        "worker_kill": figure(
            value,
            "events lost or doubled",
            0,
            value == 0 and is_proven and is_replaced and silent_s is not None and caught_up_s is not None,
            load=described(plan),
            workers=1 + len(others),
            requests=len(outcome.status),
            failed_at_the_kill=outcome.failures,
            longest_silence_s=silent_s,
            log=compared,
            features=features,
            features_caught_up_s=caught_up_s,
        )
    }


def _silence_s(outcome: Outcome, since: float) -> float | None:
    """The longest time without a successful answer after a moment; None: none came any more."""
    ends = [at + s for at, s, status in zip(outcome.at, outcome.seconds, outcome.status, strict=True) if status == 200]
    later = np.sort([end for end in ends if end > since])
    return round(float(np.diff(later, prepend=since).max()), 2) if len(later) else None
