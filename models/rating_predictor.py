"""What a user would rate an item: biases of both, and the largest patterns in what they leave unexplained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from models.errors import NotFittedError
from models.ratings import Ratings
from models.state import Floats


@dataclass(frozen=True)
class RatingConfig:
    """The predictor; the shrinkage is that of Koren (2010), "Factor in the Neighbors", section 2.1."""

    item_shrinkage: float = 25.0
    """An item's bias counts as if it had so many ratings at the mean besides."""
    user_shrinkage: float = 10.0
    """The same of a user."""
    factors: int = 10
    """Singular vectors of what the biases leave, unknown pairs being 0. 0: biases alone."""
    seed: int = 7


class RatingPredictor:
    """Mean + the item's bias + the user's bias + the singular vectors' part, within the range of what was rated."""

    def __init__(self, config: RatingConfig = RatingConfig()) -> None:
        self.config = config
        self._mean = 0.0
        self._item: Floats | None = None
        """[n_items] bias, 0 for items without a rating"""
        self._user: Floats | None = None
        """[n_users] likewise"""
        self._left: Floats | None = None
        """[n_users, factors]"""
        self._right: Floats | None = None
        """[n_items, factors]"""
        self._range = (0.0, 0.0)

    def fit(self, ratings: Ratings) -> Self:
        """Learns from at least one rating."""
        config = self.config
        self._mean = float(ratings.value.mean())
        self._range = float(ratings.value.min()), float(ratings.value.max())
        rest = ratings.value - self._mean
        self._item = _shrunken(ratings.item, rest, ratings.n_items, config.item_shrinkage)
        rest = rest - self._item[ratings.item]
        self._user = _shrunken(ratings.user, rest, ratings.n_users, config.user_shrinkage)
        rest = rest - self._user[ratings.user]
        shape = (ratings.n_users, ratings.n_items)
        factors = min(config.factors, min(shape) - 1)
        if factors < 1:
            self._left, self._right = np.zeros((shape[0], 1)), np.zeros((shape[1], 1))
            return self
        residual = sparse.coo_matrix((rest, (ratings.user, ratings.item)), shape=shape).tocsr()
        users, values, items = svds(residual, factors, random_state=config.seed)
        self._left, self._right = users * values, items.T
        return self

    def predict(self, user: np.ndarray, item: np.ndarray) -> Floats:
        """[N] for pairs [N] of the numbers that were fitted; those without a rating get what is known of the other."""
        if self._item is None or self._user is None or self._left is None or self._right is None:
            raise NotFittedError("ratings: call fit first")
        pattern = (self._left[user] * self._right[item]).sum(axis=1)
        predicted: Floats = np.clip(self._mean + self._item[item] + self._user[user] + pattern, *self._range)
        return predicted


def _shrunken(of: np.ndarray, rest: Floats, count: int, shrinkage: float) -> Floats:
    """[count] sum of the rests over their number and the shrinkage, 0 without any."""
    total, number = np.bincount(of, rest, count), np.bincount(of, minlength=count)
    return np.asarray(total / np.maximum(number + shrinkage, 1e-12), dtype=np.float64)
