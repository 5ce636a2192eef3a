"""A lake in a temporary home, filled by hand or with a slice of the real data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from feature_repo.event import Event, to_arrow
from feature_repo.store import Features
from infra.settings import Settings

FillLake = Callable[[Sequence[Event]], None]


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", reports=tmp_path / "reports")


@pytest.fixture
def features(config: Settings) -> Features:
    return Features.open(config)


@pytest.fixture
def fill(config: Settings) -> FillLake:
    return partial(add_events, config)


def add_events(config: Settings, events: Sequence[Event]) -> None:
    """Adds a file of events to the lake, as a committed batch would."""
    folder = config.lake / "events"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_arrow(events), folder / f"{len(list(folder.iterdir()))}.parquet")


@pytest.fixture
def catalogue(config: Settings) -> None:
    add_catalogue(config)


def add_catalogue(config: Settings) -> None:
    """Items a, b in category fruit, c in category fish; d is not in the catalogue."""
    config.lake.mkdir(parents=True, exist_ok=True)
    since = datetime(2020, 1, 1, tzinfo=UTC)
    rows = [
        {s.ITEM_ID: item, s.NAME: item.upper(), s.CATEGORY: category, s.TIMESTAMP: since}
        for item, category in (("a", "fruit"), ("b", "fruit"), ("c", "fish"))
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=s.ITEMS), config.lake / "items.parquet")


def event(user: str, item: str, at: datetime, kind: str = "purchase", **more: object) -> Event:
    return Event(
        event_id=f"{user}{item}{at.isoformat()}{kind}",
        user_id=user,
        item_id=item,
        event_type=kind,
        timestamp=at,
        **more,
    )  # type: ignore[arg-type]
