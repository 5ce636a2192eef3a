"""What an event weighs in the log of profile production, a stream in Redis, with the ids that tell repetition."""

from __future__ import annotations

import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from redis import Redis

from benchmarks.serving.redis_server import OwnRedis
from feature_repo.event import Event
from feature_repo.event_log.redis import RedisEventLog
from infra.ports import free_port

EVENTS: Final = 200_000
BATCH: Final = 1_000
TARGET_B: Final = 740
"""So a day of 1,000 events a second fits 64 GB."""
SEED: Final = 7


def measure() -> dict[str, Any]:
    """The figure: bytes of Redis' memory per event."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        redis = OwnRedis(Path(folder), free_port())
        redis.start()
        try:
            with redis.hurried(), Redis(port=redis.port) as client:
                log = RedisEventLog(redis.url, "kairos_bench_log", timeout_s=30)
                empty = client.info("memory")["used_memory"]
                for start in range(0, EVENTS, BATCH):
                    log.append([_event(number) for number in range(start, start + BATCH)])
                per_event = round((client.info("memory")["used_memory"] - empty) / EVENTS)
                log.close()
        finally:
            redis.kill()
    return {
        "value": per_event,
        "unit": "bytes of Redis per event",
        "target": TARGET_B,
        "met": per_event <= TARGET_B,
        "detail": {"events": EVENTS},
    }


def _event(number: int) -> Event:
    """As a shop's page sends it: an id of its own, a session, a price."""
    random = np.random.default_rng((SEED, number))
    return Event(
        event_id=str(uuid.UUID(bytes=random.bytes(16))),
        user_id=f"user-{random.integers(1_000_000)}",
        item_id=f"item-{random.integers(100_000)}",
        event_type="view",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number),
        session_id=f"session-{random.integers(10_000_000)}",
        price=float(random.integers(1, 5_000)) / 100,
    )
