"""What users rated, how it is held back, and how far a prediction is from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.schema import EVENT_TYPE, ITEM_ID, RATING, TIMESTAMP, USER_ID, VALUE
from models.batch import Ints
from models.errors import EmptyTrainingDataError
from models.metrics import Interval, interval
from models.state import Floats

_LEAST: Final = 3
"""Ratings that a user must have for the last to be held back, as in the ranking's `leave-one-out`"""


@dataclass(frozen=True)
class Ratings:
    """One value for each pair of user and item, the latest; ordered by user and within a user by time."""

    user: Ints
    """[N] 0-based"""
    item: Ints
    """[N] 0-based"""
    value: Floats
    """[N] on the shop's own scale"""
    time: Floats
    """[N] epoch seconds"""
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.value)

    def where(self, kept: npt.NDArray[np.bool_]) -> Ratings:
        """Some of them [N], in their order."""
        return replace(
            self, user=self.user[kept], item=self.item[kept], value=self.value[kept], time=self.time[kept]
        )  # fmt: skip

    def split(self, moment: float | None) -> tuple[Ratings, Ratings]:
        """What is learned from, and what is to be foretold.

        Args:
            moment: epoch seconds; what was rated from then on is held back. None: of each user with three ratings or
                more, the last.

        Raises:
            EmptyTrainingDataError: a side is empty.
        """
        if moment is None:
            is_last = np.diff(self.user, append=-1) != 0
            out = is_last & (np.bincount(self.user, minlength=self.n_users)[self.user] >= _LEAST)
        else:
            out = self.time >= moment
        if out.all() or not out.any():
            raise EmptyTrainingDataError(
                f"{(~out).sum()} ratings to learn from, {out.sum()} held back: both must have some"
            )
        return self.where(~out), self.where(out)


def ratings_of(events: pa.Table) -> Ratings | None:
    """The events of type `rating` that have a value; None: there is none.

    Args:
        events: with the event contract's columns.
    """
    rated = events.filter(pc.and_(pc.equal(events[EVENT_TYPE], RATING), pc.is_valid(events[VALUE])))
    if not len(rated):
        return None
    frame = rated.select([USER_ID, ITEM_ID, TIMESTAMP, VALUE]).to_pandas().sort_values(TIMESTAMP, kind="stable")
    frame = frame.drop_duplicates([USER_ID, ITEM_ID], keep="last")
    user, users = pd.factorize(frame[USER_ID], sort=True)
    item, items = pd.factorize(frame[ITEM_ID], sort=True)
    time = pd.to_datetime(frame[TIMESTAMP], utc=True).astype("datetime64[us, UTC]").astype(np.int64).to_numpy() / 1e6
    order = np.lexsort((time, user))
    value = frame[VALUE].to_numpy(np.float64)
    return Ratings(
        user[order].astype(np.int32), item[order].astype(np.int32), value[order], time[order], len(users), len(items)
    )


def rating_errors(predicted: Floats, wanted: Floats, rows: npt.NDArray[np.intp]) -> dict[str, Interval]:
    """RMSE and MAE with 95 % intervals.

    Args:
        predicted: [N].
        wanted: [N] what was rated.
        rows: [resamples, N] ratings drawn with replacement.
    """
    error = predicted - wanted
    squared = interval(error**2, rows)
    return {
        "rmse": Interval(sqrt(squared.value), sqrt(squared.low), sqrt(squared.high)),
        "mae": interval(np.abs(error), rows),
    }
