"""What the service counts, beside BentoML's own request metrics; read at /metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from services.messages import Step

# BentoML's default buckets start at 5 ms, about where these stages end.
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

ANSWERS = Counter("kairos_answers", "Recommendations by the ladder's rung that answered", ["served_by"])
STAGES = Histogram("kairos_stage_seconds", "Time per stage of a request", ["stage"], buckets=_BUCKETS)
FAILURES = Counter("kairos_part_failures", "Parts behind the service that failed it", ["part"])
REFUSED = Counter("kairos_refused_requests", "Requests refused at the door, by status", ["status"])
EVENTS = Counter("kairos_events", "Events received, by what became of them", ["outcome"])
# Of several processes the number set last counts. Their largest would be that of a killed one, for ever.
WAITING = Gauge("kairos_events_waiting", "Durable events not yet in the features", multiprocess_mode="mostrecent")
TOGETHER = Histogram("kairos_ranked_together", "Requests answered by one call of the model", buckets=(1, 2, 4, 8, 16))
ITEMS_AGE = Gauge(
    "kairos_item_table_age_seconds", "Age of the item features that the ranker reads", multiprocess_mode="mostrecent"
)
REFRESHES = Counter("kairos_item_refreshes", "Refreshes of the item features, by how they ended", ["outcome"])
EXPIRED = Counter("kairos_expired_rows", "Online rows read that were older than their view's ttl", ["view"])
LOST_INDEXES = Gauge(
    "kairos_lost_indexes",
    "Sources of the model in service that search without an index",
    multiprocess_mode="mostrecent",
)
SWAPS = Counter("kairos_model_swaps", "Champions followed, and refused because they failed their test", ["outcome"])

# Counted from 0: an alert sees how much a counter grows, and not that it appears with its first refusal.
_KNOWN = {
    ANSWERS: tuple(Step),
    FAILURES: (
        "applier", "event_log", "explanation", "item_table", "model", "model_time", "online_store", "probabilities",
        "request_log", "unappliable_event", "user_row",
    ),
    REFUSED: ("401", "403", "404", "429"),
    EVENTS: ("accepted", "duplicate", "refused", "throttled", "not_taken"),
    REFRESHES: ("done", "failed"),
    SWAPS: ("followed", "refused"),
}  # fmt: skip
for _counter, _values in _KNOWN.items():
    for _value in _values:
        _counter.labels(_value)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Observe how long the block takes."""
    began = time.perf_counter()
    try:
        yield
    finally:
        STAGES.labels(name).observe(time.perf_counter() - began)
