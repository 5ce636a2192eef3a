"""From the model's order to the answer's: one pass over the places, which all rules have a say in.

The model's best `POOL` items are put into an order of relevance and difference first, by Maximal Marginal Relevance
(Carbonell and Goldstein, SIGIR 1998). Then each place gets its pinned item, else the first of that order whose category
has room and whose group may have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pyversity import mmr

from feature_repo.schema import BRAND, CATEGORY, DEPARTMENT, SUBCATEGORY
from models.batch import Ints
from models.fairness import Floors, exposures
from models.rules import Rules
from models.vocabulary import ITEM_CATEGORICALS

POOL: Final = 100
"""So many of the best items are compared with one another, and are the candidates of whom groups have their shares."""
LIKENESS: Final[Mapping[str, float]] = {CATEGORY: 0.4, SUBCATEGORY: 0.3, DEPARTMENT: 0.2, BRAND: 0.1}
"""How much two items are alike that share this field; all four: 1."""
_CATEGORY: Final = ITEM_CATEGORICALS.index(CATEGORY)


@dataclass(frozen=True)
class Pool:
    """Items that may be shown, best first."""

    ids: Ints
    """[n] inside ids, each once"""
    scores: npt.NDArray[np.floating]
    """[n]"""
    codes: Ints
    """[n, len(ITEM_CATEGORICALS)], 0 where unknown"""

    def room(self, per_category: int | None) -> int:
        """How many items a cap lets into one answer."""
        if per_category is None:
            return len(self.ids)
        counts = np.bincount(self.codes[:, _CATEGORY], minlength=1)
        return int(counts[0] + np.minimum(counts[1:], per_category).sum())

    def full(self, per_category: int | None) -> list[int]:
        """Codes of the categories that a cap lets no further item of into the answer."""
        if per_category is None:
            return []
        counts = np.bincount(self.codes[:, _CATEGORY], minlength=1)
        return (np.flatnonzero(counts[1:] >= per_category) + 1).tolist()


def arranged(pool: Pool, rules: Rules, k: int, pins: Mapping[int, int | None]) -> list[int]:
    """Positions in the pool, in the order of the answer: k of them, or as many as there are and the cap allows.

    Args:
        pool: what may be shown.
        rules: see there; of the pins, those of `pins` alone.
        k: how many.
        pins: position in the pool of a pinned item -> its place, from 1; None: the first free one.
    """
    order = _ordered(pool, rules, k)
    categories = pool.codes[order, _CATEGORY]
    groups, floors = _fairness(pool, order, rules, min(k, pool.room(rules.per_category)))
    cap = _Cap(categories, rules.per_category)
    weights = exposures(min(k, pool.room(rules.per_category)))
    answer = _placed(order, pins, len(weights), cap)
    free = np.ones(len(order), dtype=bool)
    for place, at in answer.items():
        free[at] = False
        floors.pay(int(groups[at]), weights[place])
    open_places = [place for place in range(len(weights)) if place not in answer]
    for n, place in enumerate(open_places):
        at = _next(free & cap.open, groups, floors, weights[open_places[n:]])
        answer[place] = at
        free[at] = False
        cap.take(at)
        floors.pay(int(groups[at]), weights[place])
    return [int(order[answer[place]]) for place in sorted(answer)]


def vectors(codes: Ints) -> npt.NDArray[np.float32]:
    """[n, d] whose inner products are the likeness of items with these codes [n, len(ITEM_CATEGORICALS)].

    Unknown values are like one another: a shop whose items have no brand shows them in the same order as without.
    """
    parts = []
    for column, name in enumerate(ITEM_CATEGORICALS):
        values, at = np.unique(codes[:, column], return_inverse=True)
        parts.append(np.eye(len(values), dtype=np.float32)[at] * np.float32(np.sqrt(LIKENESS[name])))
    return np.concatenate(parts, axis=1)


def _ordered(pool: Pool, rules: Rules, k: int) -> npt.NDArray[np.intp]:
    """[n] positions in the pool, by relevance and difference from those before."""
    everything = np.arange(len(pool.ids))
    if not rules.diversity or len(pool.ids) < 2:
        return everything
    # As far as a place may have to look; MMR's first choices are the same however many follow.
    is_strict = rules.per_category is not None or rules.fairness is not None
    depth = POOL if is_strict else k
    scores = pool.scores[:POOL].astype(np.float64)
    span = scores.max() - scores.min()
    relevance = (scores - scores.min()) / span if span else np.ones(len(scores))
    first = mmr(vectors(pool.codes[:POOL]), relevance, depth, rules.diversity).indices.astype(np.intp)
    return np.concatenate([first, np.setdiff1d(everything, first)])


def _fairness(pool: Pool, order: npt.NDArray[np.intp], rules: Rules, k: int) -> tuple[Ints, Floors]:
    """[n] the group of each item in order, and what groups are owed; without the rule all items are of the unknown."""
    if rules.fairness is None:
        none = np.zeros(len(order), dtype=np.int32)
        return none, Floors(none, 0.0, k)
    groups = pool.codes[:, ITEM_CATEGORICALS.index(rules.fairness.by)]
    return groups[order], Floors(groups[:POOL], rules.fairness.least, k)


def _placed(order: npt.NDArray[np.intp], pins: Mapping[int, int | None], k: int, cap: _Cap) -> dict[int, int]:
    """Place from 0 -> where in the order its pinned item is. Where a place is taken it is the next, else the last."""
    answer: dict[int, int] = {}
    for item, wanted in sorted(pins.items(), key=lambda pin: pin[1] or np.inf):
        at = int(np.flatnonzero(order == item)[0])
        start = 0 if wanted is None else min(wanted, k) - 1
        places = [place for place in (*range(start, k), *range(start - 1, -1, -1)) if place not in answer]
        if places and cap.open[at]:
            answer[places[0]] = at
            cap.take(at)
    return answer


def _next(may: npt.NDArray[np.bool_], groups: Ints, floors: Floors, weights: npt.NDArray[np.float64]) -> int:
    """The item for the first of the open places with these exposures; there is one."""
    best = int(np.argmax(may))
    while (creditor := floors.creditor(int(groups[best]), weights)) is not None:
        theirs = may & (groups == creditor)
        if theirs.any():
            return int(np.argmax(theirs))
        floors.give_up(creditor)
    return best


class _Cap:
    """Which items' categories have room."""

    def __init__(self, categories: Ints, most: int | None) -> None:
        self.open = np.ones(len(categories), dtype=bool)
        self._categories = categories
        self._most = most
        self._taken: dict[int, int] = {}

    def take(self, at: int) -> None:
        category = int(self._categories[at])
        if self._most is None or not category:
            return
        self._taken[category] = self._taken.get(category, 0) + 1
        if self._taken[category] >= self._most:
            self.open &= self._categories != category
