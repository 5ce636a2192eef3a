"""Users' states straight from their events: what a plain log of events asks the sources with.

In service the states come out of the feature store, which knows more; these hold what follows from the events alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from feature_repo.schema import EVENT_TYPES, HALF_LIVES_DAYS, PROFILE_COLUMNS, PURCHASE, SESSION_EVENTS
from models.batch import Array, StateBatch
from models.interactions import Interactions
from models.state import ACTIVITY, DAY_S, OWN, REQUEST_TIME, Floats

_PURCHASE: Final = EVENT_TYPES.index(PURCHASE) + 1
"""The inside id of a purchase."""


def states_of(
    events: Interactions, users: npt.NDArray[np.integer], now: Floats, length: int = SESSION_EVENTS
) -> StateBatch:
    """The states of users [B] after their events.

    Args:
        events: everything that is known; users without any get the empty state.
        users: ascending numbers of `events.user`.
        now: [B] the moments of asking, epoch seconds.
        length: how many of the last events the session holds.
    """
    begin, end = np.searchsorted(events.user, users), np.searchsorted(events.user, users, side="right")
    return states_within(events, begin, end, now, length)


def states_within(
    events: Interactions,
    begin: npt.NDArray[np.integer],
    end: npt.NDArray[np.integer],
    now: Floats,
    length: int = SESSION_EVENTS,
) -> StateBatch:
    """The states after parts of users' events, such as those before a moment of the past.

    Args:
        events: everything that is known.
        begin: [B] where each part begins in `events`.
        end: [B] where it ends, its user's last event or before.
        now: [B] the moments of asking, epoch seconds.
        length: how many of the last events the session holds.
    """
    at = end[:, None] + np.arange(-length, 0)
    inside = at >= begin[:, None]
    at = np.where(inside, at, 0)
    count = len(begin)
    own_row, own_item, own = _own(events, begin, end, now)
    return StateBatch(
        now=np.asarray(now, dtype=np.float64),
        activity=np.full((count, len(ACTIVITY)), np.nan),
        own_row=own_row,
        own_item=own_item,
        own=own,
        session_item=_where(inside, events.item, at),
        session_type=_where(inside, events.kind, at),
        session_time=_where(inside, events.time, at),
        affinity_row=np.empty(0, dtype=np.int32),
        affinity_category=np.empty(0, dtype=np.int32),
        affinity_share=np.empty(0),
        cycle_row=np.empty(0, dtype=np.int32),
        cycle_category=np.empty(0, dtype=np.int32),
        cycle_gap_days=np.empty(0),
        profile=np.zeros((count, len(PROFILE_COLUMNS)), dtype=np.int32),
        request_time=np.zeros((count, len(REQUEST_TIME))),
        others=np.empty((count, 0)),
    )


def _where(inside: Array, column: Array, at: Array) -> Array:
    return np.where(inside, column[at], 0).astype(column.dtype) if len(column) else np.zeros(at.shape, column.dtype)


def _own(events: Interactions, begin: Array, end: Array, now: Floats) -> tuple[Array, Array, Floats]:
    """Row, item and the columns `OWN` of every item that a user had to do with."""
    lengths = end - begin
    row = np.repeat(np.arange(len(begin), dtype=np.int32), lengths)
    at = np.arange(lengths.sum()) + np.repeat(begin - np.append(0, np.cumsum(lengths)[:-1]), lengths)
    order = np.lexsort((events.item[at], row))  # stable: within a pair the events stay in time order
    row, at = row[order], at[order]
    item, time, kind = events.item[at], events.time[at], events.kind[at]
    starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(item, prepend=-1) != 0))
    if not len(starts):
        return row, item, np.empty((0, len(OWN)))
    bought = kind == _PURCHASE
    age_days = np.maximum(now[row] - time, 0.0) / DAY_S
    columns: dict[str, Floats] = {
        "own_purchases": np.add.reduceat(bought.astype(np.float64), starts),
        "own_first_at": np.minimum.reduceat(time, starts),
        "own_last_at": np.maximum.reduceat(time, starts),
    }
    for suffix, half_life_days in HALF_LIVES_DAYS.items():
        decayed = events.weights[kind] * 0.5 ** (age_days / half_life_days)
        columns[f"own_decayed_{suffix}" if suffix else "own_decayed"] = np.add.reduceat(decayed, starts)
    last = np.maximum.reduceat(np.where(bought, time, -np.inf), starts)
    columns["own_last_purchase_at"] = np.where(np.isfinite(last), last, np.nan)
    return row[starts], item[starts], np.stack([columns[name] for name in OWN], axis=1)
