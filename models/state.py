"""What one request knows of one user: the same class in training, evaluation and service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from feature_repo.schema import (
    CART,
    EVENT_WEIGHTS,
    HALF_LIVES_DAYS,
    IMPRESSION,
    PROFILE_COLUMNS,
    PURCHASE,
    SESSION_EVENTS,
    WINDOWS_DAYS,
)

Floats = npt.NDArray[np.float64]

DAY_S: Final = 86_400.0
ACTIVITY: Final = (
    *(f"{what}_{days}d" for what in ("events", "purchases", "spend", "items") for days in WINDOWS_DAYS),
    "baskets_90d",
    "purchase_gap_days",
    "last_event_at",
    "last_purchase_at",
)
"""Scalar columns of `user_activity`, in the order of `UserState.activity`."""
OWN: Final = (
    "own_purchases",
    "own_decayed",
    "own_decayed_fast",
    "own_decayed_slow",
    "own_first_at",
    "own_last_at",
    "own_last_purchase_at",
)
"""List columns of `user_items` parallel to `own_items`, in the order of `UserState.own`'s columns."""
OWN_ITEMS_COLUMN: Final = "own_items"
SESSION_COLUMNS: Final = ("session_items", "session_types", "session_times")
AFFINITY_COLUMNS: Final = ("categories", "category_shares")
CYCLE_COLUMNS: Final = ("cycle_categories", "cycle_gap_days")
TAKEN_COLUMNS: Final = ("seen_items", "bought_items")

REQUEST_TIME: Final = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
"""Where on the day's and the week's circle the request is, in the order of `UserState.request_time`."""

STATE_COLUMNS: Final = (
    *ACTIVITY,
    OWN_ITEMS_COLUMN,
    *OWN,
    *SESSION_COLUMNS,
    *AFFINITY_COLUMNS,
    *CYCLE_COLUMNS,
    *TAKEN_COLUMNS,
    *PROFILE_COLUMNS,
    *REQUEST_TIME,
)
"""Every column that a user's row may have; a missing one counts as None."""

_NAMED: Final = frozenset(STATE_COLUMNS)
_DECAYS: Final = tuple(
    (OWN.index("own_decayed" + (f"_{suffix}" if suffix else "")), float(days))
    for suffix, days in HALF_LIVES_DAYS.items()
)
_PURCHASES, _FIRST, _LAST, _LAST_PURCHASE = (
    OWN.index(name) for name in ("own_purchases", "own_first_at", "own_last_at", "own_last_purchase_at")
)


def _no_floats() -> Floats:
    return np.empty(0)


def _no_activity() -> Floats:
    return np.full(len(ACTIVITY), np.nan)


def _no_time() -> Floats:
    return np.zeros(len(REQUEST_TIME))


def _no_own() -> Floats:
    return np.empty((0, len(OWN)))


@dataclass(frozen=True, eq=False)
class UserState:
    """A user at a moment. Times are epoch seconds UTC; NaN is "not known"."""

    user_id: str
    now: float
    activity: Floats = field(default_factory=_no_activity)
    """[len(ACTIVITY)]"""
    own_items: tuple[str, ...] = ()
    own: Floats = field(default_factory=_no_own)
    """[n own items, len(OWN)]"""
    session_items: tuple[str, ...] = ()
    """Newest last, like the two below."""
    session_types: tuple[str, ...] = ()
    session_times: Floats = field(default_factory=_no_floats)
    categories: tuple[str, ...] = ()
    category_shares: Floats = field(default_factory=_no_floats)
    cycle_categories: tuple[str, ...] = ()
    cycle_gap_days: Floats = field(default_factory=_no_floats)
    """How long the user goes without each of these categories."""
    profile: tuple[str | None, ...] = (None,) * len(PROFILE_COLUMNS)
    seen_items: tuple[str, ...] = ()
    """Every item that the user had to do with, beyond the own items too."""
    bought_items: tuple[str, ...] = ()
    request_time: Floats = field(default_factory=_no_time)
    """[len(REQUEST_TIME)], the centre of the circles if the row has none"""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Every other number in the row by name: features that nobody here has thought of. Unknown ones are left out."""

    @classmethod
    def empty(cls, user_id: str, now: float) -> UserState:
        """A user of whom nothing is known."""
        return cls(user_id, now)

    @classmethod
    def from_row(cls, user_id: str, row: Mapping[str, Any] | None, now: float) -> UserState:
        """Builds the state from one feature row.

        Args:
            user_id: the outside id.
            row: `STATE_COLUMNS` and any other feature -> value, as Feast's online read or a point-in-time frame
                gives it: values may be None, NaN, lists or arrays; None or missing columns give the empty state.
            now: the request's moment.

        Items that appear in the session but not among the own items are added to them, so that an event counts
        whichever view it reached first.
        """
        if row is None:
            return cls.empty(user_id, now)
        own_items = _texts(row.get(OWN_ITEMS_COLUMN))
        count = len(own_items)
        own = np.stack([_floats(row.get(name), count) for name in OWN], axis=1) if count else _no_own()
        session_items = _texts(row.get(SESSION_COLUMNS[0]))
        session_types = _texts(row.get(SESSION_COLUMNS[1]))
        length = min(len(session_items), len(session_types))
        categories = _texts(row.get(AFFINITY_COLUMNS[0]))
        cycles = _texts(row.get(CYCLE_COLUMNS[0]))
        state = cls(
            user_id=user_id,
            now=now,
            activity=np.array([_float(row.get(name)) for name in ACTIVITY]),
            own_items=own_items,
            own=own,
            session_items=session_items[:length][-SESSION_EVENTS:],
            session_types=session_types[:length][-SESSION_EVENTS:],
            session_times=_floats(row.get(SESSION_COLUMNS[2]), length)[-SESSION_EVENTS:],
            categories=categories,
            category_shares=_floats(row.get(AFFINITY_COLUMNS[1]), len(categories)),
            cycle_categories=cycles,
            cycle_gap_days=_floats(row.get(CYCLE_COLUMNS[1]), len(cycles)),
            profile=tuple(_text(row.get(name)) for name in PROFILE_COLUMNS),
            seen_items=_texts(row.get(TAKEN_COLUMNS[0])),
            bought_items=_texts(row.get(TAKEN_COLUMNS[1])),
            request_time=or_zero(np.array([_float(row.get(name)) for name in REQUEST_TIME])),
            numbers={
                name: float(value)
                for name, value in row.items()
                if name not in _NAMED and isinstance(value, int | float | np.integer | np.floating) and value == value
            },
        )
        return state._own_complete()

    @property
    def is_unknown(self) -> bool:
        """No event of this user is known, so nothing personal can be said."""
        return not self.own_items and not self.session_items

    def had(self, *, bought: bool) -> set[str]:
        """The items that are not new to this user: those bought, or all that the user had to do with."""
        if not bought:
            return {*self.seen_items, *self.own_items}
        purchases = self.own[:, _PURCHASES] > 0
        return {*self.bought_items, *(item for item, n in zip(self.own_items, purchases, strict=True) if n)}

    def with_items(self, items: Sequence[str], event_type: str = CART) -> UserState:
        """This state as if each of the items had just had an event: how cart and page items enter a request."""
        if not items:
            return self
        count = len(items)
        state = replace(
            self,
            session_items=(*self.session_items, *items)[-SESSION_EVENTS:],
            session_types=(*self.session_types, *(event_type,) * count)[-SESSION_EVENTS:],
            session_times=np.append(self.session_times, np.full(count, self.now))[-SESSION_EVENTS:],
        )
        return state._own_complete()

    def _own_complete(self) -> UserState:
        missing = set(self.session_items).difference(self.own_items)
        if not missing:
            return self
        added: dict[str, Floats] = {}
        for item, kind, at in zip(self.session_items, self.session_types, self.session_times, strict=True):
            if item not in missing or kind == IMPRESSION:
                continue
            row = added.get(item)
            if row is None:
                row = added[item] = np.zeros(len(OWN))
                row[_FIRST] = at
                row[_LAST_PURCHASE] = np.nan
            age_days = max(self.now - at, 0.0) / DAY_S
            for column, half_life in _DECAYS:
                row[column] += EVENT_WEIGHTS.get(kind, 1.0) * 0.5 ** (age_days / half_life)
            row[_LAST] = at
            if kind == PURCHASE:
                row[_PURCHASES] += 1.0
                row[_LAST_PURCHASE] = at
        if not added:
            return self
        own = np.concatenate([self.own, np.stack(list(added.values()))])
        return replace(self, own_items=(*self.own_items, *added), own=own)


def other_numbers(states: Iterable[UserState]) -> tuple[str, ...]:
    """The names of the states' `numbers`, sorted."""
    return tuple(sorted({name for state in states for name in state.numbers}))


def or_zero(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values with 0 for NaN; `np.nan_to_num` takes several times as long on a request's few."""
    return np.where(np.isnan(values), 0.0, values)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"


def _float(value: Any) -> float:
    return float("nan") if _missing(value) else float(value)


def _text(value: Any) -> str | None:
    return None if _missing(value) else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    if _missing(value):
        return ()
    return tuple(value.tolist()) if isinstance(value, np.ndarray) else tuple(value)


def _floats(value: Any, count: int) -> Floats:
    """[count], cut or filled with NaN: the lists of two views may be a moment apart in the online store."""
    out = np.full(count, np.nan)
    if not _missing(value) and count:
        given = np.asarray(value, dtype=np.float64)[:count]
        out[: len(given)] = given
    return out
