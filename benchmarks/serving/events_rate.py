"""The figure `events_rate`: events a second that one worker acknowledges, sent in batches by several clients."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.serving.ledger import Ledger
from benchmarks.serving.load import Load, loaded
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import Plan
from benchmarks.serving.running import running
from benchmarks.serving.sample import shop
from benchmarks.serving.traffic import Events

BATCH: Final = 50
PER_S: Final = 3_000


def measure(plan: Plan) -> dict[str, Any]:
    """The figure; afterwards every acknowledged event must be in the log once, and the features know it in the end."""
    events = shop().events
    ledger = Ledger()
    with running() as service:
        loaded(Load(service.port, plan.warm_up_s, plan.event_clients), Events(events, "rate-warm-", BATCH))
        ledger.settled_s(plan.settle_s)
        traffic = Events(events, "rate-", BATCH, fresh_every=10)
        outcome = loaded(Load(service.port, plan.events_s, plan.event_clients), traffic)
        caught_up_s = ledger.settled_s(plan.settle_s)
        compared = ledger.compare(outcome)
        features = ledger.unknown_to_features(outcome, "rate-")
    ledger.close()
    per_s = round(len(outcome.acknowledged) / plan.events_s)
    wrong = ledger.wrong(compared, features)
    is_whole = not wrong and not outcome.failures and ledger.has_proof(compared, features)
    return {
        "events_rate": figure(
            per_s,
            "events/s",
            PER_S,
            per_s >= PER_S and is_whole and caught_up_s is not None,
            clients=plan.event_clients,
            batch=BATCH,
            seconds=plan.events_s,
            latency=percentiles_ms(outcome.times()),
            features_updated=dict(outcome.marks),
            features_caught_up_s=caught_up_s,
            log=compared,
            features=features,
            failures=outcome.failures,
        )
    }
