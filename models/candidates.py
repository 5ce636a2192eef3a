"""First stage: a few hundred candidates per user from all sources together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.batch import Ints, StateBatch
from models.sources.base import NOTHING, Scores, Source, top_k
from models.sources.own import Own

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CandidateConfig:
    """How many candidates each source may propose."""

    own: int = 150
    """Items that the user already has, best first."""
    new: int = 60
    """Items that the user does not have yet, per source."""


@dataclass(frozen=True)
class Candidates:
    """Candidates of B users, padded on the right with item 0."""

    items: Ints
    """[B, C]"""
    scores: dict[str, Scores]
    """[B, C] per source, `NOTHING` where it doesn't propose the item at all"""
    proposed: dict[str, Mask]
    """[B, C] per source: the item is among its own best"""


def generate(
    sources: Mapping[str, Source],
    batch: StateBatch,
    config: CandidateConfig,
    *,
    allowed: Mask | None = None,
    excluded: Mask | None = None,
) -> Candidates:
    """The union of every source's best.

    Args:
        sources: by name.
        batch: B users.
        config: how many.
        allowed: [n_items] items that may be recommended at all; None for all.
        excluded: [B, n_items] items that may not be recommended to that user; None for none.
    """
    dense = {name: source.scores(batch) for name, source in sources.items()}
    n_items = next(iter(dense.values())).shape[1]
    barred = np.zeros((len(batch), n_items), dtype=bool) if excluded is None else excluded.copy()
    barred[:, ~allowed if allowed is not None else 0] = True
    own_allowed = ~barred[batch.own_row, batch.own_item]
    barred[batch.own_row, batch.own_item] = True  # from here on: neither barred nor owned
    best: dict[str, Ints] = {}
    for name, scores in dense.items():
        if name == Own.name:
            own = scores[batch.own_row, batch.own_item]
            best[name] = _best_own(batch, np.where(own_allowed, own, NOTHING), config.own)
        else:
            best[name] = top_k(np.where(barred, NOTHING, scores), config.new)[0]
    items = _union(np.concatenate([*best.values()], axis=1))
    inside = items > 0
    picked = {
        name: np.where(inside, np.take_along_axis(scores, items, axis=1), NOTHING) for name, scores in dense.items()
    }
    return Candidates(items, picked, {name: _member(items, ids) for name, ids in best.items()})


def _best_own(batch: StateBatch, scores: Scores, k: int) -> Ints:
    """[B, k] the best of each user's own items by their scores [M], 0 where there are fewer."""
    order = np.lexsort((batch.own_item, -scores, batch.own_row))
    row = batch.own_row[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = (rank < k) & np.isfinite(scores[order])
    out = np.zeros((len(batch), k), dtype=np.int32)
    out[row[kept], rank[kept]] = batch.own_item[order][kept]
    return out


def _union(ids: Ints) -> Ints:
    """[B, T] with repetitions and zeros -> [B, C] ascending without, zeros on the right."""
    ids = np.sort(ids, axis=1)
    repeated = np.zeros(ids.shape, dtype=bool)
    repeated[:, 1:] = ids[:, 1:] == ids[:, :-1]
    ids = np.where(repeated, 0, ids)
    order = np.argsort(ids == 0, axis=1, kind="stable")
    ids = np.take_along_axis(ids, order, axis=1)
    width = max(1, int((ids > 0).sum(axis=1).max(initial=0)))
    return np.ascontiguousarray(ids[:, :width])


def _member(items: Ints, ids: Ints) -> Mask:
    """[B, C] whether an item is among the row's ids [B, T]."""
    big = np.int64(max(int(items.max(initial=0)), int(ids.max(initial=0))) + 1)
    rows = np.arange(len(items), dtype=np.int64)[:, None] * big
    return np.isin(rows + items, rows + np.where(ids > 0, ids, 0)) & (items > 0)
