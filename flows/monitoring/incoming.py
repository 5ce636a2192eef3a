"""A look at what arrived since the last one, beside what the lake had before."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import duckdb

from feature_repo import schema as s
from feature_repo.batch import Batch, batches_of
from feature_repo.file_lock import file_lock
from feature_repo.lake import Lake
from flows.json_file import write_json
from flows.monitoring.compared import comparable, compare
from flows.monitoring.measured import Look, Measured, above
from flows.monitoring.stretches import Stretches, count, opened
from infra.settings import Settings
from infra.thresholds import DataLimits, thresholds

_STATE: Final = "data_state.json"
WAIT_S: Final = 600.0
"""A look at a large lake takes minutes."""
_EARLY: Final = timedelta(minutes=30)
"""A job that starts each hour starts some seconds sooner or later: without it, looks would slide through the day."""


@dataclass(frozen=True)
class State:
    """What the next look has to know.

    Attributes:
        looked_at: ISO 8601, UTC; empty: never.
        newest_batch: id of the newest batch that was looked at; ids are in the order of time.
        aside: batches that were out of order and that nobody has accepted: nothing is compared with them.
        categories: those that events were in.
    """

    looked_at: str = ""
    newest_batch: str = ""
    aside: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Settings) -> State:
        try:
            content = json.loads((config.monitoring / _STATE).read_text())
        except FileNotFoundError:
            return cls()
        return cls(**{**content, "aside": tuple(content["aside"]), "categories": tuple(content["categories"])})

    def save(self, config: Settings) -> None:
        write_json(config.monitoring / _STATE, asdict(self))

    def is_due(self, now: datetime, limits: DataLimits) -> bool:
        """Whether the last look is long enough ago: less than a day's events are not like a day's."""
        after = timedelta(hours=limits.every_hours) - _EARLY
        return not self.looked_at or now - datetime.fromisoformat(self.looked_at) >= after


def look_at_data(config: Settings, now: datetime, tell: Callable[[Look], None] = lambda look: None) -> Look | None:
    """Compare the batches that came since the last look with the stretches of time before them.

    Batches that are out of order are set aside: what comes later is not compared with them, until `accept_data`.

    Args:
        now: UTC.
        tell: is called with the look before its batches count as looked at: if it fails, they are looked at again.

    Returns:
        None: the last look is not long enough ago, or nothing came, or too little.

    Raises:
        FeaturesBusyError: somebody else looks, or accepts, for longer than `WAIT_S`.
    """
    with _alone(config):
        return _look(config, now, tell)


def _look(config: Settings, now: datetime, tell: Callable[[Look], None]) -> Look | None:
    limits, state, lake = thresholds(config).data, State.of(config), Lake(config.lake)
    batches = [batch for batch in batches_of(lake.root) if batch.batch_id > state.newest_batch and batch.accepted]
    if not batches or not state.is_due(now, limits):
        return None
    there = _there(lake, [batch.batch_id for batch in batches])
    batches = [batch for batch in batches if batch.batch_id in there]
    if not batches:
        return None
    ids = [batch.batch_id for batch in batches]
    with opened(config, ids, state.aside) as con:
        start = _newest(con)
        events = sum(batch.accepted for batch in batches)
        seen = replace(state, looked_at=now.isoformat(), newest_batch=ids[-1])
        about = f"{events:,} events in {len(batches)} batches, {ids[0]} to {ids[-1]}"
        categories = _categories(con, lake)
        if start is None:
            look = Look("data", now, f"{about}: the first, there is nothing to compare with")
            tell(look)
            replace(seen, categories=tuple(sorted(categories))).save(config)
            return look
        found = count(con, lake, start, limits.stretches)
    compared = comparable(found, limits)
    if not compared and events < limits.least_events:
        return None  # a small shop: more days have more
    if len(compared) < limits.least_stretches:
        about = f"{about}: too little came before to compare with"
        measures: list[Measured] = []
    else:
        about = f"{about}, beside {len(compared)} stretches of {found.days:.1f} days"
        measures = [
            *compare(found, limits),
            _rejected(lake, batches, state, limits),
            *_new_categories(found, state, limits),
        ]
    look = Look("data", now, about, tuple(measures))
    tell(look)
    if look.broken:
        known = state.categories or tuple(sorted(categories))
        replace(seen, aside=(*state.aside, *ids), categories=known).save(config)
    else:
        replace(seen, categories=tuple(sorted({*state.categories, *categories}))).save(config)
    return look


def accept_data(config: Settings) -> Sequence[str]:
    """Let the batches that were set aside be what later ones are compared with; returns their ids.

    Raises:
        FeaturesBusyError: somebody looks at the data for longer than `WAIT_S`.
    """
    lake = Lake(config.lake)
    with _alone(config), opened(config, (), ()) as con:
        state = State.of(config)
        replace(state, aside=(), categories=tuple(sorted({*state.categories, *_categories(con, lake)}))).save(config)
    return state.aside


def _alone(config: Settings) -> AbstractContextManager[None]:
    """What one has accepted another, who began before, must not set aside again."""
    return file_lock(config.monitoring / "data.lock", "the look at the data", WAIT_S)


def _there(lake: Lake, ids: Collection[str]) -> set[str]:
    """Those batches whose events are in the lake: the file that tells of a batch comes before them."""
    if not any(lake.events_folder.glob("*.parquet")):
        return set()
    query = f"SELECT DISTINCT {s.BATCH_ID} FROM ({lake.events_sql}) WHERE {s.BATCH_ID} IN (SELECT unnest($ids))"
    with duckdb.connect() as con:
        return {batch for (batch,) in con.execute(query, {"ids": list(ids)}).fetchall()}


def _newest(con: duckdb.DuckDBPyConnection) -> datetime | None:
    """Time of the newest event that was there before; None: there was none."""
    [(newest,)] = con.sql(f"SELECT max({s.TIMESTAMP}) FROM events WHERE NOT is_new").fetchall()
    return newest


def _categories(con: duckdb.DuckDBPyConnection, lake: Lake) -> set[str]:
    """Those that events are in."""
    if not lake.items.exists():
        return set()
    items = str(lake.items).replace("'", "''")
    query = (
        f"SELECT DISTINCT {s.CATEGORY} FROM read_parquet('{items}') "
        f"WHERE {s.CATEGORY} IS NOT NULL AND {s.ITEM_ID} IN (SELECT {s.ITEM_ID} FROM events)"
    )
    return {str(category) for (category,) in con.sql(query).fetchall()}


def _rejected(lake: Lake, batches: Sequence[Batch], state: State, limits: DataLimits) -> Measured:
    """Rows that broke a rule, in a batch that was taken all the same."""
    new = {batch.batch_id for batch in batches}
    earlier = [
        batch for batch in batches_of(lake.root) if batch.batch_id not in new and batch.batch_id not in state.aside
    ]
    ours, theirs = (
        sum(batch.rejected for batch in some) / max(sum(batch.read for batch in some), 1) for some in (batches, earlier)
    )
    return above("rejected rows", ours, [theirs], limits.rejected)


def _new_categories(found: Stretches, state: State, limits: DataLimits) -> list[Measured]:
    """By the items' table of now: where a category was renamed, so are the events of before.

    Where no category was known, none is new: the shop has just sent its first table of items.
    """
    if s.CATEGORY not in found.bins or not state.categories:
        return []
    bins = found.bins[s.CATEGORY]
    new = [count for name, count in zip(bins.names, bins.counts[0], strict=True) if name not in state.categories]
    return [above("in new categories", float(sum(new)) / found.counts[0]["events"], [], limits.new_categories)]
