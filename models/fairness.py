"""Exposure: what share of an answer's attention each group of items gets, and a floor under it.

The exposure of a place is 1 / log2(1 + place), as in NDCG (Singh and Joachims, Fairness of Exposure in Rankings, KDD
2018). A group's floor is a part of its share among the candidates. It is held greedily, place by place, as in Geyik et
al. (Fairness-Aware Ranking in Search & Recommendation Systems, KDD 2019): the best item comes next as long as the
places after it can still pay what every group is owed; where they could not, an item of the group that is owed most.
Their floors are counts that hold for every beginning of a list, these are exposures that hold for the whole of it, so
that the model's first places stay its own for as long as can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.batch import Ints

Weights = npt.NDArray[np.float64]
_EXACT: Final = 1e-9
"""Sums of floats: what is owed by less than this is paid."""


def exposures(k: int) -> Weights:
    """[k] the exposure of each place, best first."""
    return 1.0 / np.log2(np.arange(2.0, k + 2.0))


def exposure_shares(groups: Sequence[int] | Ints) -> Mapping[int, float]:
    """Group -> its share of the exposure of an answer whose items, best first, are of these groups."""
    weights = exposures(len(groups))
    total = float(weights.sum())
    of = np.bincount(np.asarray(groups, dtype=np.int64), weights=weights)
    return {int(group): float(of[group]) / total for group in np.unique(groups)}


def shares(groups: Sequence[int] | Ints) -> Mapping[int, float]:
    """Group -> its share of the candidates."""
    found, counts = np.unique(groups, return_counts=True)
    return dict(zip(found.tolist(), (counts / max(len(groups), 1)).tolist(), strict=True))


class Floors:
    """What each group is still owed while an answer of k places is made. Group 0 is the unknown one: owed nothing.

    Nothing is owed to a group whose floor is less than what the last place gives: it would have to get more than its
    share of the candidates.
    """

    def __init__(self, candidates: Ints, least: float, k: int) -> None:
        """
        Args:
            candidates: [n] the group of each candidate.
            least: part of its share among the candidates that a group's share of the exposure is at least.
            k: how many places the answer has.
        """
        weights = exposures(max(k, 1))
        counts = np.bincount(candidates, minlength=1).astype(np.float64)
        self._owed = least * counts / max(len(candidates), 1) * weights.sum()
        self._owed[self._owed < weights[-1]] = 0.0
        self._owed[0] = 0.0

    def pay(self, group: int, weight: float) -> None:
        """An item of the group has a place of this exposure."""
        if group < len(self._owed):
            self._owed[group] -= weight

    def give_up(self, group: int) -> None:
        """There is no item of the group left."""
        self._owed[group] = 0.0

    def creditor(self, group: int, places: Weights) -> int | None:
        """The group that must have the next place, so that all can get what they are owed; None: `group` may have it.

        Args:
            group: of the best item.
            places: exposures of the open places, descending.
        """
        owed = self._owed.copy()
        if group < len(owed):
            owed[group] -= places[0]
        if _can_pay(owed, places[1:]):
            return None
        most = int(np.argmax(self._owed))
        return None if most == group or self._owed[most] <= _EXACT else most


def _can_pay(owed: Weights, places: Weights) -> bool:
    """Whether giving each place to the group that is owed most leaves none owed."""
    lacking = owed[owed > _EXACT]
    if not len(lacking):
        return True
    if lacking.sum() > places.sum() + _EXACT:
        return False
    if lacking.sum() + len(lacking) * places[0] <= places.sum():  # no group gets more than a place too much
        return True
    for weight in places.tolist():
        lacking[np.argmax(lacking)] -= weight
    return bool((lacking <= _EXACT).all())
