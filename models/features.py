"""What the ranker knows about a candidate: numbers about the user, the item and the two together.

Everything comes from a `StateBatch`, the packed items and the sources' scores, by the same code in training and
in service. Heavy-tailed quantities are logs, and a missing one is told apart by a second column or by a value that
no known one has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from feature_repo.schema import BRAND, CATEGORY, DEPARTMENT, SUBCATEGORY
from models.batch import Array, Ints, StateBatch
from models.items import STATIC_FEATURES, ItemTable
from models.sources.base import Scores
from models.state import ACTIVITY, DAY_S, OWN, REQUEST_TIME

GROUPS: Final = (SUBCATEGORY, CATEGORY, DEPARTMENT, BRAND)
_LONG_AGO_DAYS: Final = 1_000.0
_LARGEST: Final = 30_000.0
"""Training keeps features in half precision."""
_OWN_FEATURES: Final = (
    "own_known", "own_purchases_log", "own_decayed_log", "own_decayed_fast_log", "own_decayed_slow_log",
    "own_share_log", "own_since_last_log", "own_since_purchase_log", "own_since_first_log", "own_gap_log",
    "own_due", "own_due_user", "own_rate_log", "own_rank_log", "own_momentum",
)  # fmt: skip
_GROUP_FEATURES: Final = ("decayed_log", "fast_log", "share", "of_group", "since_log", "due", "items_log")
_USER_FEATURES: Final = (
    *(f"user_{name}_log" for name in ACTIVITY if not name.endswith("_at")),
    "user_since_event_log", "user_since_purchase_log", "user_own_items_log", "user_own_decayed_log",
)  # fmt: skip


@dataclass(frozen=True)
class FeatureSpace:
    """The ordered feature list for some sources; part of the bundle."""

    sources: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Numbers about the user or the moment that nobody here has thought of: whatever else the feature store serves.
    One that ends in `_at` is a time in epoch seconds and counts by its age."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature, in the order of the last axis."""
        return (
            *(f"{source}_{what}" for source in self.sources for what in ("score", "proposed", "rank_log")),
            *_OWN_FEATURES,
            *(f"{group}_{what}" for group in GROUPS for what in _GROUP_FEATURES),
            "category_affinity",
            *STATIC_FEATURES,
            "item_age_log",
            *_USER_FEATURES,
            *REQUEST_TIME,
            *(f"other_{name}" for name in self.others),
        )

    @property
    def collaborative(self) -> tuple[int, ...]:
        """Positions of the features that make up the collaborative score: the sources' scores and the own rule's."""
        names = self.names
        wanted = (*(f"{source}_score" for source in self.sources), "own_decayed_log", "own_known")
        return tuple(names.index(name) for name in wanted)

    def compute(
        self, batch: StateBatch, candidates: Ints, scores: dict[str, Scores], items: ItemTable
    ) -> npt.NDArray[np.float32]:
        """Features [B, C, F] of candidates [B, C] (0 where padded); scores are [B, C] per source."""
        count, width = candidates.shape
        columns: list[Array] = []
        for source in self.sources:
            columns.extend(_source_columns(scores[source], candidates))
        columns.extend(_own_columns(batch, candidates, len(items.codes)))
        mine = _own_decayed(batch, candidates, len(items.codes))
        for group in GROUPS:
            columns.extend(_group_columns(batch, candidates, items.code(group), mine))
        columns.append(_affinity(batch, items.code(CATEGORY)[candidates]))
        now = batch.now[:, None]
        static = items.static_features[candidates]  # [B, C, len(STATIC_FEATURES)]
        columns.extend(static[:, :, index] for index in range(static.shape[2]))
        age_days = np.maximum(now - items.number("first_seen_at")[candidates], 0.0) / DAY_S
        columns.append(_log(age_days))
        columns.extend(np.broadcast_to(column[:, None], (count, width)) for column in _user_columns(batch))
        columns.extend(np.broadcast_to(column[:, None], (count, width)) for column in batch.request_time.T)
        columns.extend(np.broadcast_to(column[:, None], (count, width)) for column in self._other_columns(batch))
        out = np.empty((count, width, len(columns)), dtype=np.float32)
        for index, column in enumerate(columns):
            out[:, :, index] = column
        return np.clip(np.nan_to_num(out, copy=False), -_LARGEST, _LARGEST, out=out)

    def _other_columns(self, batch: StateBatch) -> Iterator[Array]:
        for name, values in zip(self.others, batch.others.T, strict=True):
            if name.endswith("_at"):
                age_days = (batch.now - values) / DAY_S
                yield _log(np.where(np.isnan(age_days), _LONG_AGO_DAYS, age_days))
            else:
                known = np.nan_to_num(values)
                yield np.sign(known) * np.log1p(np.abs(known))


def _source_columns(score: Scores, candidates: Ints) -> list[Array]:
    proposed = np.isfinite(score) & (candidates > 0)
    # What a source doesn't propose gets the worst score that it gave in this list.
    worst = np.where(proposed, score, np.inf).min(axis=1, keepdims=True)
    filled = np.where(proposed, score, np.where(np.isfinite(worst), worst, 0.0))
    rank = np.empty(score.shape, dtype=np.int64)
    order = np.argsort(-np.where(proposed, score, -np.inf), axis=1, kind="stable")
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(score.shape[1]), score.shape), axis=1)
    last = proposed.sum(axis=1, keepdims=True)
    return [filled, proposed, np.log1p(np.minimum(rank, last))]


class _Lookup:
    """Sorted (row, code) keys of a batch's own items, to find the candidates' among them."""

    def __init__(self, row: Array, code: Array, size: int) -> None:
        self.size = size
        self.keys, self.inverse = np.unique(row.astype(np.int64) * size + code, return_inverse=True)

    def find(self, candidates: Array) -> tuple[npt.NDArray[np.bool_], Array]:
        """[B, C] whether there, and at which key (0 where not)."""
        wanted = np.arange(len(candidates), dtype=np.int64)[:, None] * self.size + candidates
        if not len(self.keys):
            return np.zeros(candidates.shape, dtype=bool), np.zeros(candidates.shape, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found = (self.keys[at] == wanted) & (candidates > 0)
        return found, np.where(found, at, 0)


def _own_columns(batch: StateBatch, candidates: Ints, n_items: int) -> list[Array]:
    lookup = _Lookup(batch.own_row, batch.own_item, n_items)
    found, at = lookup.find(candidates)
    if not len(lookup.keys):
        return [np.zeros(candidates.shape)] * len(_OWN_FEATURES)
    order = np.argsort(lookup.inverse, kind="stable")  # keys are unique: one own item each
    own, row = batch.own[order], batch.own_row[order]
    purchases, decayed, fast, slow, first, last, last_purchase = (own[:, i] for i in range(len(OWN)))
    now = batch.now[row]
    total = np.bincount(row, np.nan_to_num(decayed), len(batch))[row]
    since_first = np.maximum(now - first, 0.0) / DAY_S
    since_last = np.maximum(now - last, 0.0) / DAY_S
    since_purchase = np.maximum(now - last_purchase, 0.0) / DAY_S
    gap = np.where(purchases > 1, (last_purchase - first) / DAY_S / np.maximum(purchases - 1, 1), np.nan)
    user_gap = batch.activity[row, ACTIVITY.index("purchase_gap_days")]
    by_user = np.lexsort((-decayed, row))
    rank = np.empty(len(row))
    rank[by_user] = np.arange(len(row)) - np.searchsorted(row[by_user], row[by_user])
    flat = {
        "known": np.ones(len(row)),
        "purchases": np.log1p(purchases),
        "decayed": np.log(decayed + 0.01),
        "fast": np.log(fast + 0.01),
        "slow": np.log(slow + 0.01),
        "share": np.log(decayed / np.maximum(total, 1e-9) + 1e-4),
        "since_last": np.log1p(since_last),
        "since_purchase": np.log1p(since_purchase),
        "since_first": np.log1p(since_first),
        "gap": np.log1p(gap),
        "due": np.log((since_purchase + 1) / (gap + 1)),
        "due_user": np.log((since_purchase + 1) / (user_gap + 1)),
        "rate": np.log((purchases + 0.1) / (since_first + 7)),
        "rank": np.log1p(rank),
        "momentum": np.log((fast + 0.01) / (decayed + 0.01)),
    }
    absent = {
        "purchases": 0.0, "decayed": np.log(0.01), "fast": np.log(0.01), "slow": np.log(0.01), "share": np.log(1e-4),
        "since_last": np.log1p(_LONG_AGO_DAYS), "since_purchase": np.log1p(_LONG_AGO_DAYS),
        "since_first": np.log1p(_LONG_AGO_DAYS), "gap": np.log1p(_LONG_AGO_DAYS), "rate": -8.0, "rank": 6.0,
    }  # fmt: skip
    out = []
    for name, values in flat.items():
        default = absent.get(name, 0.0)
        out.append(np.where(found, np.where(np.isfinite(values), values, default)[at], default))
    return out


def _group_columns(batch: StateBatch, candidates: Ints, code: Ints, mine: Array) -> list[Array]:
    own_code = code[batch.own_item]
    rows = own_code > 0
    row, own_code, own = batch.own_row[rows], own_code[rows], batch.own[rows]
    lookup = _Lookup(row, own_code, int(code.max(initial=0)) + 1)
    if not len(lookup.keys):
        return [np.zeros(candidates.shape)] * len(_GROUP_FEATURES)
    found, at = lookup.find(code[candidates])
    size, inverse = len(lookup.keys), lookup.inverse
    purchases, decayed, fast = (np.bincount(inverse, np.nan_to_num(own[:, OWN.index(name)]), size)
                                for name in ("own_purchases", "own_decayed", "own_decayed_fast"))  # fmt: skip
    distinct = np.bincount(inverse, minlength=size)
    last, first = np.full(size, -np.inf), np.full(size, np.inf)
    np.maximum.at(last, inverse, own[:, OWN.index("own_last_at")])
    np.minimum.at(first, inverse, own[:, OWN.index("own_first_at")])
    key_row = np.empty(size, dtype=np.int64)
    key_row[inverse] = row
    total = np.bincount(key_row, decayed, len(batch))[key_row]
    since = np.maximum(batch.now[key_row] - last, 0.0) / DAY_S
    # Several items of a group bought at once are one visit to it: the gap is a lower bound, which is enough to compare.
    gap = np.maximum(last - first, 0.0) / DAY_S / np.maximum(purchases - 1, 1)
    due = np.where(purchases > 1, np.log((since + 1) / (gap + 1)), 0.0)
    group = np.where(found, decayed[at], 0.0)
    return [
        np.log(group + 0.1),
        np.log(np.where(found, fast[at], 0.0) + 0.1),
        np.where(found, (decayed / np.maximum(total, 1e-9))[at], 0.0),
        np.where(group > 0, mine / np.maximum(group, 1e-9), 0.0),
        np.where(found, np.log1p(since)[at], np.log1p(_LONG_AGO_DAYS)),
        np.where(found, due[at], 0.0),
        np.where(found, np.log1p(distinct)[at], 0.0),
    ]


def _own_decayed(batch: StateBatch, candidates: Ints, n_items: int) -> Array:
    lookup = _Lookup(batch.own_row, batch.own_item, n_items)
    found, at = lookup.find(candidates)
    if not len(lookup.keys):
        return np.zeros(candidates.shape)
    values = np.bincount(lookup.inverse, np.nan_to_num(batch.own[:, OWN.index("own_decayed")]))
    return np.where(found, values[at], 0.0)


def _affinity(batch: StateBatch, category: Ints) -> Array:
    lookup = _Lookup(batch.affinity_row, batch.affinity_category, int(category.max(initial=0)) + 1)
    found, at = lookup.find(category)
    if not len(lookup.keys):
        return np.zeros(category.shape)
    share = np.bincount(lookup.inverse, batch.affinity_share)
    return np.where(found, share[at], 0.0)


def _user_columns(batch: StateBatch) -> list[Array]:
    out = []
    for column, name in enumerate(ACTIVITY):
        if not name.endswith("_at"):
            out.append(_log(batch.activity[:, column]))
    for name in ("last_event_at", "last_purchase_at"):
        since = (batch.now - batch.activity[:, ACTIVITY.index(name)]) / DAY_S
        out.append(_log(np.where(np.isnan(since), _LONG_AGO_DAYS, since)))
    out.append(np.log1p(np.bincount(batch.own_row, minlength=len(batch))))
    decayed = np.nan_to_num(batch.own[:, OWN.index("own_decayed")])
    out.append(np.log1p(np.bincount(batch.own_row, decayed, len(batch))))
    return out


def _log(values: Array) -> Array:
    return np.asarray(np.log1p(np.maximum(np.nan_to_num(values), 0.0)))
