"""A made-up shop whose days are alike, in a lake that its batches came into."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import schema as s
from feature_repo.batch import Batch, batch_file
from infra.settings import Settings

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
EVENTS = 1_500
"""A day"""
Spoil = Callable[[pd.DataFrame], pd.DataFrame]


def day(number: int, seed: int = 7) -> pd.DataFrame:
    """The events of one day: 300 users, 60 items, mostly views, in the evening rather than in the morning."""
    draw = np.random.default_rng([seed, number])
    seconds = np.sort(draw.triangular(0, 72_000, 86_399, EVENTS))
    items = draw.integers(60, size=EVENTS)
    return pd.DataFrame(
        {
            s.EVENT_ID: [f"{number}-{n}" for n in range(EVENTS)],
            s.USER_ID: [f"u{n}" for n in draw.integers(300, size=EVENTS)],
            s.ITEM_ID: [f"i{n}" for n in items],
            s.EVENT_TYPE: draw.choice([s.VIEW, s.CART, s.PURCHASE], EVENTS, p=[0.8, 0.12, 0.08]),
            s.TIMESTAMP: FIRST + number * DAY + pd.to_timedelta(seconds, unit="s").as_unit("us"),
            s.QUANTITY: draw.integers(1, 4, EVENTS).astype(float),
            s.PRICE: 1.0 + items % 20 + 0.99,
        }
    )


def bring(config: Settings, events: pd.DataFrame, arrived: datetime, rejected: int = 0) -> str:
    """Put a batch into the lake as ingest does; returns its id."""
    name = f"{arrived:%Y%m%dT%H%M%SZ}-0"
    lake = config.lake
    for folder in (lake / "events", lake / "batches"):
        folder.mkdir(parents=True, exist_ok=True)
    rows = len(events)
    Batch(name, "shop", "", arrived, rows + rejected, rows, 0, rejected, 0, 0).save(batch_file(lake, name))
    columns = {
        field.name: pa.array(events[field.name], field.type, from_pandas=True)
        if field.name in events
        else pa.nulls(rows, field.type)
        for field in s.EVENTS
    }
    columns[s.BATCH_ID] = pa.repeat(name, rows)
    pq.write_table(pa.table(columns).cast(s.EVENTS), lake / "events" / f"{name}.parquet")
    return name


def bring_items(config: Settings, **renamed: str) -> None:
    """A table of 60 items in four categories; `renamed`: category -> its other name."""
    names = [f"c{n % 4}" for n in range(60)]
    rows = [
        {s.ITEM_ID: f"i{n}", s.CATEGORY: renamed.get(name, name), s.TIMESTAMP: s.BEGINNING}
        for n, name in enumerate(names)
    ]
    config.lake.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=s.ITEMS), config.lake / "items.parquet")
