"""Full ranking: the places at which the right items came among all others, and what follows from places alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from feature_repo.schema import SESSION_EVENTS
from models.batch import Ints, StateBatch
from models.errors import NanScoreError
from models.histories import states_of
from models.index import NOTHING
from models.sources.base import Scores, top_k
from models.split import Holdout
from models.state import OWN, Floats

Scorer = Callable[[StateBatch], Scores]
"""B users -> [B, n_items], `NOTHING` for what is not proposed."""
Hide = Literal["seen", "bought", "nothing"]
"""What may not come again: everything that the user had to do with, what was bought, nothing."""
_TOGETHER: Final = 256
_BEYOND: Final = np.iinfo(np.int32).max
_PURCHASES: Final = OWN.index("own_purchases")


@dataclass(frozen=True)
class Places:
    """Where the R right items of U users came."""

    row: Ints
    """[R] ascending, which of the users"""
    place: Ints
    """[R] how many items came before it, the user's other right ones included; beyond all where it was not proposed"""
    share_above: Floats
    """[R] share of the user's wrong items that came before it, equal scores and those not proposed counting half"""
    users: int
    top: Ints
    """[U, T] the items that came first, 0 where there are fewer"""

    def of_right(self, kept: npt.NDArray[np.bool_]) -> Places:
        """The same rankings with some of the right items [R] alone, and only the users who have one of these."""
        users, row = np.unique(self.row[kept], return_inverse=True)
        return Places(row.astype(np.int32), self.place[kept], self.share_above[kept], len(users), self.top[users])

    @cached_property
    def right(self) -> Floats:
        """[U] how many right items each user has."""
        return np.bincount(self.row, minlength=self.users).astype(np.float64)

    def ndcg(self, k: int) -> Floats:
        """[U] discounted gain at k over the ideal for min(k, right items)."""
        return ndcg_of(self.row, self.place, self.users, k)

    def hit_rate(self, k: int) -> Floats:
        """[U] 1 if any right item came among the first k."""
        return (self._sum(np.ones(len(self.place)), k) > 0).astype(np.float64)

    def recall(self, k: int) -> Floats:
        """[U] share of the right items among the first k."""
        return self._sum(np.ones(len(self.place)), k) / self.right

    def average_precision(self, k: int) -> Floats:
        """[U] precision at each right item among the first k, summed, over min(k, right items)."""
        order = np.lexsort((self.place, self.row))
        nth = np.empty(len(order))
        nth[order] = np.arange(len(order)) - np.searchsorted(self.row, self.row) + 1.0
        return self._sum(nth / (self.place + 1.0), k) / np.minimum(self.right, k)

    def reciprocal_rank(self, k: int) -> Floats:
        """[U] 1 / position of the first right item if that is among the first k."""
        first = np.full(self.users, np.iinfo(np.int64).max)
        np.minimum.at(first, self.row, self.place)
        return np.where(first < k, 1.0 / (np.minimum(first, k) + 1.0), 0.0)

    def auc(self) -> Floats:
        """[U] chance that a right item comes before a wrong one."""
        return np.bincount(self.row, 1.0 - self.share_above, self.users) / self.right

    def _sum(self, gain: Floats, k: int) -> Floats:
        summed: Floats = np.bincount(self.row, np.where(self.place < k, gain, 0.0), self.users).astype(np.float64)
        return summed


def ndcg_of(row: Ints, place: npt.NDArray[np.integer], users: int, k: int) -> Floats:
    """[U] discounted gain at k over the ideal for min(k, right items), of right items [R] by user and place.

    Args:
        row: [R] which of the users; each has one at least.
        place: [R] how many items came before it.
        users: U.
        k: of the list.
    """
    right = np.bincount(row, minlength=users)
    ideal = np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))[np.minimum(right, k) - 1]
    gain = np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0)
    return np.asarray(np.bincount(row, gain, users) / ideal, dtype=np.float64)


def places_of(
    score: Scorer, holdout: Holdout, *, hide: Hide = "seen", length: int = SESSION_EVENTS, top: int = 100
) -> Places:
    """Ranks every item of the catalogue for every user of the holdout.

    Args:
        score: the model.
        holdout: the questions.
        hide: what is left out of a user's ranking; an answer that is among it counts as missed.
        length: of the sessions.
        top: how many of the first items are kept.

    Raises:
        NanScoreError: a score is not a number.
    """
    row, place, above, tops = [], [], [], []
    for start, part, batch in in_parts(holdout, length):
        scores = score(batch).copy()
        if np.isnan(scores).any():
            raise NanScoreError(f"{int(np.isnan(scores).any(axis=1).sum())} of {len(scores)} users have NaN scores")
        scores[:, 0] = NOTHING
        out = hidden(batch, hide)
        scores[out] = NOTHING
        part_row, part_place, part_above = _places(scores, part, np.bincount(out[0], minlength=len(part)))
        row.append(part_row + start)
        place.append(part_place)
        above.append(part_above)
        tops.append(top_k(scores, min(top, scores.shape[1] - 1))[0])
    return Places(np.concatenate(row), np.concatenate(place), np.concatenate(above), len(holdout), np.concatenate(tops))


def in_parts(holdout: Holdout, length: int) -> Iterator[tuple[int, Holdout, StateBatch]]:
    """A few users at a time: the first one's place, their questions, and their states."""
    for start in range(0, len(holdout), _TOGETHER):
        part = holdout.part(np.arange(start, min(start + _TOGETHER, len(holdout))))
        yield start, part, states_of(part.asked, part.users, part.now, length)


def hidden(batch: StateBatch, hide: Hide) -> tuple[Ints, Ints]:
    """Rows and items that may not come."""
    if hide == "nothing":
        return batch.own_row[:0], batch.own_item[:0]
    out = np.full(len(batch.own_row), True) if hide == "seen" else batch.own[:, _PURCHASES] > 0
    return batch.own_row[out], batch.own_item[out]


def _places(scores: Scores, part: Holdout, out: npt.NDArray[np.intp]) -> tuple[Ints, Ints, Floats]:
    """Rows, places and shares above; `out` [B] is how many items may not come."""
    n_items = scores.shape[1]
    ordered = np.sort(scores, axis=1)
    bounds = np.searchsorted(part.truth_row, np.arange(len(scores) + 1))
    place = np.full(len(part.truth_row), _BEYOND, dtype=np.int32)
    above = np.ones(len(part.truth_row))
    for row, line in enumerate(scores):
        items = part.truth_item[bounds[row] : bounds[row + 1]]
        values = line[items]
        known = np.flatnonzero(values > NOTHING)
        high = np.searchsorted(ordered[row], values, side="right")
        low = np.searchsorted(ordered[row], values, side="left")
        better = n_items - high
        right_values = np.sort(values)
        right_better = len(values) - np.searchsorted(right_values, values, side="right")
        right_equal = np.searchsorted(right_values, values, side="right") - np.searchsorted(right_values, values)
        wrong = max(n_items - 1 - int(out[row]) - len(items), 1)
        proposed = int(np.isfinite(line).sum()) - len(known)
        at = np.arange(bounds[row], bounds[row + 1])
        above[at] = min((proposed + (wrong - proposed) / 2) / wrong, 1.0)
        for n in known.tolist():
            # Equal scores are ordered by the smaller id, as in service.
            equal = high[n] - low[n]
            tied = int((line[: items[n]] == values[n]).sum()) if equal > 1 else 0
            place[at[n]] = better[n] + tied
            above[at[n]] = (better[n] - right_better[n] + (equal - right_equal[n]) / 2) / wrong
    return part.truth_row, place, above
