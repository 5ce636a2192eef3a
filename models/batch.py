"""States of B users as arrays: encoded once per request, read by every source and by the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from feature_repo.schema import CATEGORY, PROFILE_COLUMNS, SESSION_EVENTS
from models.gaps import gap_buckets
from models.state import OWN, Floats, UserState, or_zero
from models.vocabulary import Vocabulary

Ints = npt.NDArray[np.int32]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StateBatch:
    """B users. The own, affinity and cycle parts are flat with a row number each; the session is padded on the left."""

    now: Floats
    """[B] epoch seconds"""
    activity: Floats
    """[B, len(ACTIVITY)]"""
    own_row: Ints
    """[M] ascending"""
    own_item: Ints
    """[M]"""
    own: Floats
    """[M, len(OWN)]"""
    session_item: Ints
    """[B, SESSION_EVENTS]"""
    session_type: Ints
    """[B, SESSION_EVENTS]"""
    session_time: Floats
    """[B, SESSION_EVENTS] epoch seconds, 0 where padded"""
    affinity_row: Ints
    """[A] ascending"""
    affinity_category: Ints
    """[A]"""
    affinity_share: Floats
    """[A]"""
    cycle_row: Ints
    """[Y] ascending"""
    cycle_category: Ints
    """[Y]"""
    cycle_gap_days: Floats
    """[Y]"""
    profile: Ints
    """[B, len(PROFILE_COLUMNS)]"""
    request_time: Floats
    """[B, len(REQUEST_TIME)]"""
    others: Floats
    """[B, others of the feature space], NaN where unknown"""

    def __len__(self) -> int:
        return len(self.now)

    @cached_property
    def own_bounds(self) -> npt.NDArray[np.intp]:
        """[B + 1] where each user's own items begin and end."""
        return np.searchsorted(self.own_row, np.arange(len(self) + 1))

    @cached_property
    def own_decayed(self) -> Floats:
        """[M] the decayed weight of each own item, 0 where unknown."""
        return or_zero(self.own[:, OWN.index("own_decayed")])

    def own_matrix(self, n_items: int) -> sparse.csr_matrix:
        """[B, n_items] 1 for each own item."""
        ones = np.ones(len(self.own_item), dtype=np.float32)
        return sparse.csr_matrix((ones, self.own_item, self.own_bounds), shape=(len(self), n_items))

    def strongest(self, count: int) -> npt.NDArray[np.intp]:
        """Ascending positions in the own parts of each user's `count` items of the most decayed weight."""
        kept = []
        for start, stop in pairwise(self.own_bounds.tolist()):
            if stop - start > count:
                kept.append(start + np.sort(np.argpartition(-self.own_decayed[start:stop], count - 1)[:count]))
            else:
                kept.append(np.arange(start, stop))
        return np.concatenate([*kept, np.empty(0, dtype=np.intp)])

    @cached_property
    def session_gap(self) -> Array:
        """[B, SESSION_EVENTS] buckets of the time between events, see `models.gaps`."""
        return gap_buckets(self.session_time)

    def part(self, start: int, stop: int) -> StateBatch:
        """The users start..stop as a batch of their own."""
        own = slice(*np.searchsorted(self.own_row, [start, stop]))
        affinity = slice(*np.searchsorted(self.affinity_row, [start, stop]))
        cycle = slice(*np.searchsorted(self.cycle_row, [start, stop]))
        rows = slice(start, stop)
        return StateBatch(
            now=self.now[rows],
            activity=self.activity[rows],
            own_row=self.own_row[own] - np.int32(start),
            own_item=self.own_item[own],
            own=self.own[own],
            session_item=self.session_item[rows],
            session_type=self.session_type[rows],
            session_time=self.session_time[rows],
            affinity_row=self.affinity_row[affinity] - np.int32(start),
            affinity_category=self.affinity_category[affinity],
            affinity_share=self.affinity_share[affinity],
            cycle_row=self.cycle_row[cycle] - np.int32(start),
            cycle_category=self.cycle_category[cycle],
            cycle_gap_days=self.cycle_gap_days[cycle],
            profile=self.profile[rows],
            request_time=self.request_time[rows],
            others=self.others[rows],
        )

    def session_of(self, rows: Array) -> StateBatch:
        """Some users in any order with their sessions and profiles only: all that a network reads directly."""
        none = np.empty(0, dtype=np.int32)
        return StateBatch(
            now=self.now[rows],
            activity=self.activity[rows],
            own_row=none,
            own_item=none,
            own=self.own[:0],
            session_item=self.session_item[rows],
            session_type=self.session_type[rows],
            session_time=self.session_time[rows],
            affinity_row=none,
            affinity_category=none,
            affinity_share=self.affinity_share[:0],
            cycle_row=none,
            cycle_category=none,
            cycle_gap_days=self.cycle_gap_days[:0],
            profile=self.profile[rows],
            request_time=self.request_time[rows],
            others=self.others[rows],
        )


def encode(states: Sequence[UserState], vocabulary: Vocabulary, others: Sequence[str] = ()) -> StateBatch:
    """Encodes states [B]; items and values that the model doesn't know are left out or become 0.

    Args:
        others: the names of the states' other numbers that the model reads, in its order.
    """
    count = len(states)
    items, categories = vocabulary.items, vocabulary.fields[CATEGORY]
    session_item = np.zeros((count, SESSION_EVENTS), dtype=np.int32)
    session_type = np.zeros_like(session_item)
    session_time = np.zeros((count, SESSION_EVENTS))
    for row, state in enumerate(states):
        if state.session_items:
            ids = items.encode(state.session_items)
            known = np.flatnonzero(ids)
            if len(known):
                session_item[row, -len(known) :] = ids[known]
                session_type[row, -len(known) :] = vocabulary.types.encode(state.session_types)[known]
                session_time[row, -len(known) :] = state.session_times[known]
    own_row, own_item, own = _flat(
        [items.encode(state.own_items) for state in states], [state.own for state in states], (len(OWN),)
    )
    affinity_row, affinity_category, affinity_share = _flat(
        [categories.encode(state.categories) for state in states], [state.category_shares for state in states], ()
    )
    cycle_row, cycle_category, cycle_gap_days = _flat(
        [categories.encode(state.cycle_categories) for state in states], [state.cycle_gap_days for state in states], ()
    )
    profile = np.zeros((count, len(PROFILE_COLUMNS)), dtype=np.int32)
    for column, name in enumerate(PROFILE_COLUMNS):
        profile[:, column] = vocabulary.fields[name].encode([state.profile[column] for state in states])
    return StateBatch(
        now=np.array([state.now for state in states], dtype=np.float64),
        activity=np.stack([state.activity for state in states]),
        own_row=own_row,
        own_item=own_item,
        own=own,
        session_item=session_item,
        session_type=session_type,
        session_time=session_time,
        affinity_row=affinity_row,
        affinity_category=affinity_category,
        affinity_share=or_zero(affinity_share),
        cycle_row=cycle_row,
        cycle_category=cycle_category,
        cycle_gap_days=cycle_gap_days,
        profile=profile,
        request_time=np.stack([state.request_time for state in states]),
        others=np.array([[state.numbers.get(name, np.nan) for name in others] for state in states]),
    )


def _flat(ids: list[Ints], values: list[Floats], width: tuple[int, ...]) -> tuple[Ints, Ints, Floats]:
    """Row numbers [M], ids [M] and values [M, ...] of the known ids."""
    rows = np.repeat(np.arange(len(ids), dtype=np.int32), [len(part) for part in ids])
    flat = np.concatenate([*ids, np.empty(0, dtype=np.int32)])
    value = np.concatenate([*values, np.empty((0, *width))])
    known = flat > 0
    return rows[known], flat[known], value[known]
