"""What is ranked above what: matrix factorisation by BPR (Rendle et al., 2009), users folded in at request time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy import sparse

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING, VectorIndex
from models.interactions import Interactions
from models.sources.asked import ByVector
from models.sources.base import Scores, Source

_CONFIG, _FACTORS, _FOLD, _INDEX = "bpr.json", "factors.npy", "fold.npy", "index"


@dataclass(frozen=True)
class BprConfig:
    """Training through `implicit`, and how a user's vector follows from their items."""

    factors: int = 64
    learning_rate: float = 0.05
    regularization: float = 0.01
    iterations: int = 100
    """Passes over the pairs of user and item, one wrong item drawn for each."""
    fold_ridge: float = 1.0
    """Ridge of the least squares that bring a user's items to the vector that the training gave them."""
    threads: int = 1
    """With more, or with 0 for all cores, the same seed gives another model each time: they write over one another."""
    seed: int = 7


class Bpr(Source):
    """Score of an item: its factors times the user's vector, plus its bias.

    BPR has no closed form for a user who comes after the training. The trained users' vectors tell how one follows from
    the items: a user's items are summed up as the mean of their factors, and the linear map from that mean to the
    trained vector is fitted over all users by ridge regression. It is asked with the items that the user has now.
    """

    name: ClassVar[str] = "bpr"

    def __init__(self, config: BprConfig = BprConfig()) -> None:
        self.config = config
        self.factors: Scores | None = None
        """[n_items, factors]"""
        self._fold: Scores | None = None
        """[factors + 1, factors] from the mean of a user's items and a constant to the user's vector"""
        self._index: VectorIndex | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Learns the item factors and the map to the users'; the trained users are dropped."""
        config, taken = self.config, events.taken()
        model = BayesianPersonalizedRanking(
            factors=config.factors,
            learning_rate=config.learning_rate,
            regularization=config.regularization,
            iterations=config.iterations,
            num_threads=config.threads,
            random_state=config.seed,
        )
        model.fit(taken, show_progress=False)
        # implicit keeps the item's bias as one more factor, where every user has 1.
        trained = np.asarray(model.item_factors, dtype=np.float32)
        users = np.asarray(model.user_factors, dtype=np.float32)[:, :-1]
        seen = np.diff(taken.tocsc().indptr) > 0
        factors, bias = trained[:, :-1] * seen[:, None], np.where(seen, trained[:, -1], NOTHING)
        active = np.diff(taken.indptr) > 0
        given = _with_one(_means(taken, factors)[active])
        ridge = config.fold_ridge * np.eye(given.shape[1], dtype=np.float32)
        self._fold = np.linalg.solve(given.T @ given + ridge, given.T @ users[active])
        self.factors = np.ascontiguousarray(factors)
        self._index = VectorIndex.build(self.factors, bias.astype(np.float32))
        return self

    def ask(self, batch: StateBatch) -> ByVector:
        """The users' vectors, from their own items."""
        if self.factors is None or self._fold is None or self._index is None:
            raise NotFittedError("bpr: call fit or load first")
        own = batch.own_matrix(len(self.factors))
        users = _with_one(_means(own, self.factors)) @ self._fold
        return ByVector(users.astype(np.float32), np.diff(batch.own_bounds) > 0, self._index)

    @property
    def is_whole(self) -> bool:
        return self._index is None or self._index.is_whole

    def save(self, folder: Path) -> None:
        """Writes the item factors, the map and the index."""
        if self.factors is None or self._fold is None or self._index is None:
            raise NotFittedError("bpr: nothing to save before fit")
        np.save(folder / _FACTORS, self.factors)
        np.save(folder / _FOLD, self._fold)
        self._index.save(folder / _INDEX)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(BprConfig(**json.loads((folder / _CONFIG).read_text())))
        source.factors = np.asarray(np.load(folder / _FACTORS, mmap_mode="r", allow_pickle=False))
        source._fold = np.load(folder / _FOLD, allow_pickle=False)
        source._index = VectorIndex.load(folder / _INDEX)
        return source


def _means(taken: sparse.csr_matrix, factors: Scores) -> Scores:
    """[U, factors] of the items of each user, 0 for those without any."""
    count = np.maximum(np.diff(taken.indptr), 1)
    means: Scores = np.asarray(taken @ factors, dtype=np.float32) / count[:, None].astype(np.float32)
    return means


def _with_one(means: Scores) -> Scores:
    return np.column_stack([means, np.ones(len(means), dtype=np.float32)])
