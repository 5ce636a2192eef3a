"""The forms that a source's scores for some users have: a vector each, a few items each, one list for all, or simply
every score."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.batch import Ints
from models.ids import is_among
from models.index import NOTHING, VectorIndex
from models.sources.base import Limits, Scores


@dataclass(frozen=True)
class ByVector:
    """A vector for each user, to be multiplied with the items'."""

    queries: Scores
    """[B, d]"""
    known: npt.NDArray[np.bool_]
    """[B] of whom there is a vector at all"""
    index: VectorIndex

    def best(self, k: int, limits: Limits) -> Ints:
        out = np.zeros((len(self.queries), k), dtype=np.int32)
        free = np.array([allowed is None for allowed in limits.allowed])
        rows = np.flatnonzero(self.known & free).tolist()
        if rows:
            out[rows] = self.index.best(self.queries[rows], k, [limits.barred[row] for row in rows])
        for row in np.flatnonzero(self.known & ~free).tolist():
            items = _admitted(limits, row)
            out[row] = _best(items, self.index.of(self.queries[row : row + 1], items[None, :])[0], k)
        return out

    def of(self, items: Ints) -> Scores:
        return np.where(self.known[:, None], self.index.of(self.queries, items), NOTHING)

    def dense(self) -> Scores:
        return np.where(self.known[:, None], self.index.dense(self.queries), NOTHING)


@dataclass(frozen=True)
class OfFew:
    """Scores of a few items for each user; all others have none."""

    bounds: npt.NDArray[np.integer]
    """[B + 1] where each user's items begin and end"""
    items: Ints
    """[M], each once per user"""
    values: Scores
    """[M]"""
    n_items: int

    def best(self, k: int, limits: Limits) -> Ints:
        out = np.zeros((len(self.bounds) - 1, k), dtype=np.int32)
        for row, (barred, allowed) in enumerate(zip(limits.barred, limits.allowed, strict=True)):
            part = slice(self.bounds[row], self.bounds[row + 1])
            items, values = self.items[part], self.values[part]
            first = k + len(barred)
            if allowed is None and len(items) > 2 * first:  # the best of a few are found sooner than of thousands
                top = np.argpartition(values, -first)[-first:]
                items, values = items[top], values[top]
            kept = ~is_among(items, barred)
            if allowed is not None:
                kept &= is_among(items, allowed)
            out[row] = _best(items[kept], values[kept], k)
        return out

    def of(self, items: Ints) -> Scores:
        out = np.empty(items.shape, dtype=np.float32)
        scores = _slate(self.n_items)
        for row in range(len(items)):
            part = slice(self.bounds[row], self.bounds[row + 1])
            scores[self.items[part]] = self.values[part]
            out[row] = scores[items[row]]
            scores[self.items[part]] = NOTHING  # wiped again
        return out

    def dense(self) -> Scores:
        out = np.full((len(self.bounds) - 1, self.n_items), NOTHING, dtype=np.float32)
        out[np.repeat(np.arange(len(out)), np.diff(self.bounds)), self.items] = self.values
        return out


@dataclass(frozen=True)
class ForAll:
    """The same scores for every user."""

    count: int
    """B"""
    values: Scores
    """[n_items]"""
    order: Ints
    """Ids of the items with a score, best first"""

    def best(self, k: int, limits: Limits) -> Ints:
        out = np.zeros((self.count, k), dtype=np.int32)
        for row, (barred, allowed) in enumerate(zip(limits.barred, limits.allowed, strict=True)):
            if allowed is None:
                first = self.order[: k + len(barred)]
                kept = first[~is_among(first, barred)][:k]
                out[row, : len(kept)] = kept
            else:
                items = _admitted(limits, row)
                out[row] = _best(items, self.values[items], k)
        return out

    def of(self, items: Ints) -> Scores:
        return self.values[items]

    def dense(self) -> Scores:
        return np.broadcast_to(self.values, (self.count, len(self.values)))


@dataclass(frozen=True)
class Dense:
    """Every score, at hand: for sources whose scores have no shorter form."""

    values: Scores
    """[B, n_items], `NOTHING` where there is no reason to propose the item"""

    def best(self, k: int, limits: Limits) -> Ints:
        out = np.zeros((len(self.values), k), dtype=np.int32)
        everything = np.arange(self.values.shape[1], dtype=np.int32)
        for row, (barred, allowed) in enumerate(zip(limits.barred, limits.allowed, strict=True)):
            if allowed is None:
                values = self.values[row].copy()
                values[barred] = NOTHING
                out[row] = _best(everything, values, k)
            else:
                items = _admitted(limits, row)
                out[row] = _best(items, self.values[row, items], k)
        return out

    def of(self, items: Ints) -> Scores:
        return np.take_along_axis(self.values, items, axis=1)

    def dense(self) -> Scores:
        return self.values


_slates = threading.local()


def _slate(size: int) -> Scores:
    """An array of `NOTHING` of this thread's own, kept: making one of a million items takes longer than using it."""
    slate: Scores | None = getattr(_slates, "slate", None)
    if slate is None or len(slate) != size:
        slate = _slates.slate = np.full(size, NOTHING, dtype=np.float32)
    return slate


def _admitted(limits: Limits, row: int) -> Ints:
    allowed = limits.allowed[row]
    assert allowed is not None
    return allowed[~is_among(allowed, limits.barred[row])]


def _best(items: Ints, values: Scores, k: int) -> Ints:
    """[k] the items with the largest finite values, of equals the smaller id first, 0 where there are fewer."""
    kept = np.isfinite(values)
    items, values = items[kept], values[kept]
    if len(values) > 2 * k:
        part = np.argpartition(-values, k - 1)[:k]
        items, values = items[part], values[part]
    order = np.lexsort((items, -values))[:k]
    out = np.zeros(k, dtype=items.dtype)
    out[: len(order)] = items[order]
    return out
