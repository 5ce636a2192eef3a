"""The order in which events arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from feature_repo import schema as s
from feature_repo.event import Event

DISORDERED_SHARE = 0.2
"""Of a disordered replay's events so many come late, and so many come twice."""
LATE_MINUTES = (1.0, 5 * 1440.0)


@dataclass(frozen=True)
class Arrival:
    event: Event
    at: datetime
    """When it comes in, UTC."""


def in_time(file: Path) -> Iterator[Arrival]:
    """The events of a file of the lake that is sorted by time, each at its own moment."""
    for batch in pq.ParquetFile(file).iter_batches(1_000):
        for row in batch.to_pylist():
            row.pop(s.BATCH_ID)
            row[s.CONTEXT] = dict(row[s.CONTEXT]) if row[s.CONTEXT] else None
            event = Event(**row | {s.TIMESTAMP: row[s.TIMESTAMP].astimezone(UTC)})
            assert event.timestamp is not None
            yield Arrival(event, event.timestamp)


def disordered(arrivals: Iterable[Arrival], rng: np.random.Generator) -> list[Arrival]:
    """Some come minutes to days late, some twice; in the order of their coming."""
    coming = []
    for arrival in arrivals:
        coming.append(_late(arrival, rng) if rng.random() < DISORDERED_SHARE else arrival)
        if rng.random() < DISORDERED_SHARE:
            coming.append(_late(arrival, rng))
    return sorted(coming, key=lambda arrival: arrival.at)


def _late(arrival: Arrival, rng: np.random.Generator) -> Arrival:
    minutes = float(np.exp(rng.uniform(*np.log(LATE_MINUTES))))
    return Arrival(arrival.event, arrival.at + timedelta(minutes=minutes))
