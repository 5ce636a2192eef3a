"""The stream path on real events and Redis: how many events a second one process takes, and how soon each is readable;
beside it what all the users' and items' rows weigh there.

    python -m benchmarks.stream

Open loop: events arrive at a fixed rate whether or not the process keeps up, so waiting counts. An event is readable
when Redis has acknowledged the user's rows; for a sample the rows are read back and looked into.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from redis import Redis

from benchmarks.scratch import scratch_features
from feature_repo import schema as s
from feature_repo.event import Event
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from infra.settings import settings

WARM_UP, SATURATED, OFFERED = 10_000, 40_000, 4_000
BATCH = 500
"""Events applied in one go at most."""
RATES = (200, 500, 1_000, 2_000)
EVENTS_PER_S, P99_MS = 2_000, 50


def stream() -> dict[str, Any]:
    """Events per second at saturation, and latency percentiles at offered rates."""
    url = os.environ.get("KAIROS_REDIS_URL", "redis://localhost:6379/0")
    needed = WARM_UP + SATURATED + OFFERED * len(RATES)
    with scratch_features(settings(), online_store="redis", redis_url=url, project="kairos_bench_stream") as features:
        arriving = newest_events(features, needed)
        cut = arriving[0].timestamp - timedelta(microseconds=1)  # type: ignore[operator]
        features.compute([cut])
        features.apply()
        redis = Redis.from_url(url)
        before = redis.info("memory")["used_memory"]
        materializing = time.perf_counter()
        features.materialize(cut)
        materialized = {
            "seconds": round(time.perf_counter() - materializing, 1),
            "mb": round((redis.info("memory")["used_memory"] - before) / 1e6),
        }
        path = StreamPath(features)
        batches = iter(arriving)
        _saturate(path, list(itertools.islice(batches, WARM_UP)))
        seconds = _saturate(path, list(itertools.islice(batches, SATURATED)))
        offered = {rate: _offer(features, path, list(itertools.islice(batches, OFFERED)), rate) for rate in RATES}
    at_target = offered[EVENTS_PER_S]
    per_s = SATURATED / seconds
    return {
        "value": round(per_s),
        "unit": "events/s",
        "target": EVENTS_PER_S,
        "met": per_s >= EVENTS_PER_S and at_target["p99_ms"] <= P99_MS,
        "detail": {
            "offered": offered,
            "p99_ms_target": P99_MS,
            "batch": BATCH,
            "events": needed,
            "materialized": materialized,
        },
    }


def newest_events(features: Features, count: int) -> list[Event]:
    """The newest real events, oldest first."""
    since = features.lake.newest_event() - timedelta(days=60)
    table = features.events(start=since).slice(0)
    table = table.slice(max(table.num_rows - count, 0))
    return [
        Event(event_id=f"bench-{index}", **{k: v for k, v in row.items() if v is not None})
        for index, row in enumerate(table.to_pylist())
    ]


def _saturate(path: StreamPath, events: Sequence[Event]) -> float:
    started = time.perf_counter()
    for start in range(0, len(events), BATCH):
        batch = events[start : start + BATCH]
        path.apply(batch, batch[-1].timestamp)  # type: ignore[arg-type]
    return time.perf_counter() - started


def _offer(features: Features, path: StreamPath, events: Sequence[Event], rate: int) -> dict[str, float]:
    started = time.perf_counter()
    due = started + np.arange(len(events)) / rate
    readable = np.empty(len(events))
    done = unseen = 0
    while done < len(events):
        arrived = min(int(np.searchsorted(due, time.perf_counter(), side="right")), done + BATCH)
        if arrived == done:
            time.sleep(max(due[done] - time.perf_counter(), 0))
            continue
        batch = events[done:arrived]
        path.apply(batch, batch[-1].timestamp)  # type: ignore[arg-type]
        readable[done:arrived] = time.perf_counter()
        done = arrived
    for event in events[:: len(events) // 20]:
        row = features.online_rows("user_taken", s.USER_ID, [event.user_id]).loc[event.user_id]
        unseen += event.item_id not in row["seen_items"]
    assert not unseen, f"{unseen} of 20 events cannot be read back"
    late_ms = (readable - due) * 1e3
    p50, p99 = np.percentile(late_ms, [50, 99])
    taken = len(events) / (readable[-1] - started)
    measured = {"p50_ms": p50, "p99_ms": p99, "max_ms": late_ms.max(), "taken_per_s": taken}
    return {name: round(float(value), 1) for name, value in measured.items()}


if __name__ == "__main__":
    print(json.dumps(stream(), indent=1))
