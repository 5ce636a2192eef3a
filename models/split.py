"""Ways to hold the newest events back: what a model learns from, what it is asked with, what it should have said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.batch import Ints
from models.errors import EmptyTrainingDataError
from models.interactions import Interactions
from models.state import Floats


@dataclass(frozen=True)
class Holdout:
    """One question per user, and its answer."""

    learned: Interactions
    """What models are fitted on."""
    asked: Interactions
    """The histories that the users are asked with; nothing in them is later than the moment of asking."""
    users: Ints
    """[U] ascending numbers of the users who have an answer"""
    now: Floats
    """[U] when each is asked, epoch seconds"""
    truth_row: Ints
    """[R] ascending positions in `users`"""
    truth_item: Ints
    """[R]"""

    def __len__(self) -> int:
        return len(self.users)

    def part(self, rows: npt.NDArray[np.integer]) -> Holdout:
        """The questions of some users, at ascending positions."""
        kept = np.isin(self.truth_row, rows)
        row = np.searchsorted(rows, self.truth_row[kept]).astype(np.int32)
        return replace(
            self, users=self.users[rows], now=self.now[rows], truth_row=row, truth_item=self.truth_item[kept]
        )


def leave_last_out(events: Interactions, least: int = 2, *, novel: bool = False) -> Holdout:
    """Every user's last event is the answer; everything before it is learned from and asked with.

    Users with fewer than `least` events are learned from and not asked; with `novel`, neither are those who had their
    last item before. For a validation of the same kind, split `learned` once more. Other users' later events are
    learned from too, as the papers that use this split do: it compares models, and says nothing of how well one
    foresees the future; `at_moment` does.

    Raises:
        EmptyTrainingDataError: nobody can be asked.
    """
    last = np.flatnonzero(np.diff(events.user, append=-1) != 0)
    counts = np.diff(last, prepend=-1)
    is_new = np.zeros(len(events), dtype=bool)
    is_new[np.unique(_pairs(events), return_index=True)[1]] = True  # events are in time order within a user
    last = last[(counts >= least) & (is_new[last] | (not novel))]
    if not len(last):
        new = " of which the last is about a new item" if novel else ""
        raise EmptyTrainingDataError(f"no user has {least} events{new}, so none can be held back")
    kept = np.ones(len(events), dtype=bool)
    kept[last] = False
    before = events.where(kept)
    rows = np.arange(len(last), dtype=np.int32)
    return Holdout(before, before, events.user[last], events.time[last], rows, events.item[last])


def at_moment(events: Interactions, moment: float, *, until: float = np.inf, novel: bool = False) -> Holdout:
    """What users do from a moment (epoch s) on is the answer; all are asked at that moment.

    Args:
        until: events from then on count for nothing.
        novel: only items that the user had nothing to do with before.

    Raises:
        EmptyTrainingDataError: nothing happened before the moment, or nothing after it.
    """
    before, after = events.before(moment), events.between(moment, until)
    if not len(before) or not len(after):
        raise EmptyTrainingDataError(
            f"{len(before)} events before the moment of the split and {len(after)} after it; both must have some"
        )
    return against(before, after, now=moment, novel=novel)


def against(known: Interactions, wanted: Interactions, *, now: float | None = None, novel: bool = False) -> Holdout:
    """A split that somebody else made.

    Args:
        known: learned from and asked with.
        wanted: the answers, with the same numbers of users and items.
        now: when all are asked, epoch seconds; None: just after all that is known.
        novel: only items that the user had nothing to do with before.

    Raises:
        EmptyTrainingDataError: no answer is left.
    """
    pairs = np.unique(_pairs(wanted))
    if novel:
        pairs = np.setdiff1d(pairs, _pairs(known))
    if not len(pairs):
        raise EmptyTrainingDataError("nobody takes an item that is new to them after the split, so none can be asked")
    user, item = np.divmod(pairs, wanted.n_items)
    users, row = np.unique(user, return_inverse=True)
    asked = np.full(len(users), known.time.max() + 1.0 if now is None else now)
    return Holdout(known, known, users.astype(np.int32), asked, row.astype(np.int32), item.astype(np.int32))


def _pairs(events: Interactions) -> npt.NDArray[np.int64]:
    return events.user.astype(np.int64) * events.n_items + events.item
