"""What the ranker knows about a candidate: numbers about the user, the item and the two together.

Everything comes from a `StateBatch`, the packed items and the sources' scores, by the same code in training and
in service. Heavy-tailed quantities are logs, and a missing one is told apart by a second column or by a value that
no known one has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from feature_repo.schema import BRAND, CATEGORY, DEPARTMENT, SUBCATEGORY
from models.batch import Array, Ints, StateBatch
from models.items import STATIC_FEATURES, ItemTable
from models.sources.base import Scores
from models.state import ACTIVITY, DAY_S, OWN, REQUEST_TIME, or_zero
from models.vocabulary import ITEM_CATEGORICALS

GROUPS: Final = (SUBCATEGORY, CATEGORY, DEPARTMENT, BRAND)
_GROUP_COLUMNS: Final = [ITEM_CATEGORICALS.index(group) for group in GROUPS]
_LONG_AGO_DAYS: Final = 1_000.0
_LARGEST: Final = 30_000.0
"""Training keeps features in half precision."""
_OWN_FEATURES: Final = (
    "own_known", "own_purchases_log", "own_decayed_log", "own_decayed_fast_log", "own_decayed_slow_log",
    "own_share_log", "own_since_last_log", "own_since_purchase_log", "own_since_first_log", "own_gap_log",
    "own_due", "own_due_user", "own_rate_log", "own_rank_log", "own_momentum",
)  # fmt: skip
_OWN_ABSENT: Final = {
    "own_purchases_log": 0.0, "own_decayed_log": np.log(0.01), "own_decayed_fast_log": np.log(0.01),
    "own_decayed_slow_log": np.log(0.01), "own_share_log": np.log(1e-4), "own_since_last_log": np.log1p(_LONG_AGO_DAYS),
    "own_since_purchase_log": np.log1p(_LONG_AGO_DAYS), "own_since_first_log": np.log1p(_LONG_AGO_DAYS),
    "own_gap_log": np.log1p(_LONG_AGO_DAYS), "own_rate_log": -8.0, "own_rank_log": 6.0,
}  # fmt: skip
"""What an own feature is for an item that the user does not have, and where it is unknown; the others are 0."""
_GROUP_FEATURES: Final = ("decayed_log", "fast_log", "share", "of_group", "since_log", "due", "items_log")
_GROUP_ABSENT: Final = (np.log(0.1), np.log(0.1), 0.0, 0.0, np.log1p(_LONG_AGO_DAYS), 0.0, 0.0)
"""The same for a group that the user has nothing of."""
_COUNTS: Final = tuple(column for column, name in enumerate(ACTIVITY) if not name.endswith("_at"))
_TIMES: Final = tuple(ACTIVITY.index(name) for name in ("last_event_at", "last_purchase_at"))
_SUMMED: Final = [OWN.index(name) for name in ("own_purchases", "own_decayed", "own_decayed_fast")]
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

    @cached_property
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
        self, batch: StateBatch, candidates: Ints, scores: Mapping[str, Scores], items: ItemTable
    ) -> npt.NDArray[np.float32]:
        """Features [B, C, F] of candidates [B, C] (0 where padded); scores are [B, C] per source."""
        out = np.empty((*candidates.shape, len(self.names)), dtype=np.float32)
        own = _OwnItems(batch, len(items.codes))
        at = own.find(candidates)  # [B, C]
        blocks = (
            _source_block(np.stack([scores[source] for source in self.sources]), candidates),
            own.table[at],
            _group_block(batch, candidates, items, own.decayed[at]),
            _affinity(batch, items.code(CATEGORY)[candidates])[:, :, None],
            items.static_features[candidates],
            _log(np.maximum(batch.now[:, None] - items.number("first_seen_at")[candidates], 0.0) / DAY_S)[:, :, None],
            np.concatenate([_user_columns(batch), batch.request_time, self._other_columns(batch)], axis=1)[:, None, :],
        )
        start = 0
        for block in blocks:
            stop = start + block.shape[2]
            out[:, :, start:stop] = block
            start = stop
        out[np.isnan(out)] = 0.0
        return np.clip(out, -_LARGEST, _LARGEST, out=out)

    def _other_columns(self, batch: StateBatch) -> Array:
        """[B, others]"""
        out = np.empty(batch.others.shape)
        for column, (name, values) in enumerate(zip(self.others, batch.others.T, strict=True)):
            if name.endswith("_at"):
                age_days = (batch.now - values) / DAY_S
                out[:, column] = _log(np.where(np.isnan(age_days), _LONG_AGO_DAYS, age_days))
            else:
                there = or_zero(values)
                out[:, column] = np.sign(there) * np.log1p(np.abs(there))
        return out


def _source_block(scores: Scores, candidates: Ints) -> Array:
    """[B, C, 3 S] score, whether proposed and log rank, source by source, of scores [S, B, C]."""
    proposed = np.isfinite(scores) & (candidates > 0)
    # What a source doesn't propose gets the worst score that it gave in this list.
    worst = np.where(proposed, scores, np.inf).min(axis=2, keepdims=True)
    filled = np.where(proposed, scores, np.where(np.isfinite(worst), worst, 0.0))
    order = np.argsort(np.where(proposed, -scores, np.inf), axis=2, kind="stable")
    rank = np.empty(scores.shape, dtype=np.int64)
    np.put_along_axis(rank, order, np.arange(scores.shape[2])[None, None, :], axis=2)
    log_rank = np.log1p(np.minimum(rank, proposed.sum(axis=2, keepdims=True)))
    block = np.stack([filled, proposed, log_rank], axis=-1)  # [S, B, C, 3]
    return block.transpose(1, 2, 0, 3).reshape(*candidates.shape, -1)


class _Keys:
    """(row, code) pairs of a batch, to find the candidates' among them."""

    def __init__(self, keys: Array) -> None:
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]

    def find(self, wanted: Array, valid: npt.NDArray[np.bool_]) -> Array:
        """1 + the position of each wanted key among those given, 0 where it is not there or not valid."""
        if not len(self.keys):
            return np.zeros(wanted.shape, dtype=np.intp)
        at = np.searchsorted(self.keys, wanted)
        at[at == len(self.keys)] = 0
        return np.where((self.keys[at] == wanted) & valid, self.order[at] + 1, 0)


class _OwnItems:
    """The users' own items as features, behind a first row for what is nobody's own."""

    def __init__(self, batch: StateBatch, n_items: int) -> None:
        self._n_items = n_items
        row = batch.own_row
        self._keys = _Keys(row.astype(np.int64) * n_items + batch.own_item)
        purchases, decayed, fast, slow, first, last, last_purchase = batch.own.T
        self.decayed = np.concatenate([[0.0], batch.own_decayed])
        """[1 + M]"""
        now = batch.now[row]
        total = np.bincount(row, self.decayed[1:], len(batch))[row]
        since_first = np.maximum(now - first, 0.0) / DAY_S
        since_last = np.maximum(now - last, 0.0) / DAY_S
        since_purchase = np.maximum(now - last_purchase, 0.0) / DAY_S
        gap = np.where(purchases > 1, (last_purchase - first) / DAY_S / np.maximum(purchases - 1, 1), np.nan)
        user_gap = batch.activity[row, ACTIVITY.index("purchase_gap_days")]
        by_user = np.lexsort((-decayed, row))
        rank = np.empty(len(row))
        rank[by_user] = np.arange(len(row)) - np.searchsorted(row[by_user], row[by_user])
        values = np.stack(
            [
                np.ones(len(row)),
                np.log1p(purchases),
                np.log(decayed + 0.01),
                np.log(fast + 0.01),
                np.log(slow + 0.01),
                np.log(decayed / np.maximum(total, 1e-9) + 1e-4),
                np.log1p(since_last),
                np.log1p(since_purchase),
                np.log1p(since_first),
                np.log1p(gap),
                np.log((since_purchase + 1) / (gap + 1)),
                np.log((since_purchase + 1) / (user_gap + 1)),
                np.log((purchases + 0.1) / (since_first + 7)),
                np.log1p(rank),
                np.log((fast + 0.01) / (decayed + 0.01)),
            ],
            axis=1,
        )
        absent = np.array([_OWN_ABSENT.get(name, 0.0) for name in _OWN_FEATURES])
        self.table = np.concatenate([absent[None, :], np.where(np.isfinite(values), values, absent)])
        """[1 + M, len(_OWN_FEATURES)]"""

    def find(self, candidates: Ints) -> Array:
        """[B, C] rows of the table."""
        wanted = np.arange(len(candidates), dtype=np.int64)[:, None] * self._n_items + candidates
        return self._keys.find(wanted, candidates > 0)


def _group_block(batch: StateBatch, candidates: Ints, items: ItemTable, mine: Array) -> Array:
    """[B, C, 7 G] what the user has of the candidate's group, group by group; mine: [B, C] its own decayed weight."""
    count = len(GROUPS)
    step = np.int64(items.largest_code + 1)
    group = np.arange(count, dtype=np.int64) * step

    def keys(row: Array, code: Array) -> Array:
        return row.astype(np.int64)[..., None] * (step * count) + group + code

    own_code = items.codes[batch.own_item][:, _GROUP_COLUMNS]  # [M, G]
    inside = own_code > 0
    pairs = keys(batch.own_row, own_code)[inside]
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    found = pairs[starts]
    own = batch.own.T[:, np.nonzero(inside)[0][order]]  # [len(OWN), M of some group], a group's items side by side
    sums = np.add.reduceat(or_zero(own[_SUMMED]), starts, axis=1) if len(starts) else np.empty((3, 0))
    purchases, decayed, fast = sums
    distinct = np.diff(starts, append=len(pairs))
    last = np.maximum.reduceat(own[OWN.index("own_last_at")], starts) if len(starts) else np.empty(0)
    first = np.minimum.reduceat(own[OWN.index("own_first_at")], starts) if len(starts) else np.empty(0)
    of_row = found // step  # row and group
    total = np.bincount(of_row, decayed, len(batch) * count)[of_row]
    since = np.maximum(batch.now[of_row // count] - last, 0.0) / DAY_S
    # Several items of a group bought at once are one visit to it: the gap is a lower bound, which is enough to compare.
    gap = np.maximum(last - first, 0.0) / DAY_S / np.maximum(purchases - 1, 1)
    values = [
        np.log(decayed + 0.1),
        np.log(fast + 0.1),
        decayed / np.maximum(total, 1e-9),
        decayed,
        np.log1p(since),
        np.where(purchases > 1, np.log((since + 1) / (gap + 1)), 0.0),
        np.log1p(distinct),
    ]
    table = np.concatenate([np.array(_GROUP_ABSENT)[None, :], np.stack(values, axis=1)])
    code = items.codes[candidates][:, :, _GROUP_COLUMNS]  # [B, C, G]
    wanted = keys(np.broadcast_to(np.arange(len(candidates))[:, None], candidates.shape), code)
    block = table[_Keys(found).find(wanted, code > 0)]  # [B, C, G, 7]
    of_group = block[..., 3]
    block[..., 3] = np.where(of_group > 0, mine[:, :, None] / np.maximum(of_group, 1e-9), 0.0)
    return block.reshape(*candidates.shape, -1)


def _affinity(batch: StateBatch, category: Ints) -> Array:
    """[B, C] the user's share of each category."""
    step = int(max(batch.affinity_category.max(initial=0), category.max(initial=0))) + 1
    keys = _Keys(batch.affinity_row.astype(np.int64) * step + batch.affinity_category)
    at = keys.find(np.arange(len(category), dtype=np.int64)[:, None] * step + category, category > 0)
    return np.concatenate([[0.0], batch.affinity_share])[at]


def _user_columns(batch: StateBatch) -> Array:
    """[B, len(_USER_FEATURES)]"""
    since = (batch.now[:, None] - batch.activity[:, _TIMES]) / DAY_S
    columns = [
        _log(batch.activity[:, _COUNTS]),
        _log(np.where(np.isnan(since), _LONG_AGO_DAYS, since)),
        np.log1p(np.bincount(batch.own_row, minlength=len(batch)))[:, None],
        np.log1p(np.bincount(batch.own_row, batch.own_decayed, len(batch)))[:, None],
    ]
    return np.concatenate(columns, axis=1)


def _log(values: Array) -> Array:
    return np.asarray(np.log1p(np.maximum(or_zero(values), 0.0)))
