"""What users with a similar taste take: user-to-user neighbours, found among those that were learned from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from scipy import sparse

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING
from models.interactions import Interactions
from models.sources.asked import OfFew
from models.sources.base import Source
from models.sources.largest import largest

_CONFIG, _USERS = "user_neighbours.json", "users.npz"


@dataclass(frozen=True)
class UserNeighboursConfig:
    """How neighbours are found."""

    neighbours: int = 200
    """Users that are listened to."""
    weighting: Literal["cosine", "tfidf"] = "tfidf"
    """Of what users took: `tfidf` counts an item for more in two users' similarity the rarer it is, `cosine` counts all
    alike."""
    fit_half_life_days: float = 180.0
    """Decay of the events of those that are learned from."""


class UserNeighbours(Source):
    """Score of an item: the similarities of the neighbours who took it, summed; cosine of weighted items.

    A user is the nearest neighbour of themselves and is listened to as well: what they have already is known anyway.
    """

    name: ClassVar[str] = "user_neighbours"

    def __init__(self, config: UserNeighboursConfig = UserNeighboursConfig()) -> None:
        self.config = config
        self._users: sparse.csr_matrix | None = None
        """[users, n_items] weighted, each user's row of length 1"""
        self._by_item: sparse.csr_matrix | None = None
        """[n_items, users] the same, laid out once and not at each request"""
        self._weight: np.ndarray | None = None
        """[n_items] what an item says about a taste: with TF-IDF, the rarer, the more"""

    def fit(self, events: Interactions, now: float) -> Self:
        """Keeps the users."""
        weights = events.matrix(events.decayed(now, self.config.fit_half_life_days))
        weights.data = np.log1p(weights.data)
        taken = np.bincount(weights.indices, minlength=events.n_items)
        rarity = np.log1p(weights.shape[0] / np.maximum(taken, 1)).astype(np.float32)
        self._weight = rarity if self.config.weighting == "tfidf" else np.ones_like(rarity)
        self._set(self._weighted(weights))
        return self

    def ask(self, batch: StateBatch) -> OfFew:
        """What the neighbours took."""
        if self._users is None or self._weight is None:
            raise NotFittedError("user_neighbours: call fit or load first")
        shape = (len(batch), self._users.shape[1])
        own = sparse.csr_matrix((np.log1p(batch.own_decayed), batch.own_item, batch.own_bounds), shape=shape)
        near = largest(self._weighted(own) @ self._by_item, self.config.neighbours)
        found = (near @ self._users).tocsr()
        found.data[found.data <= 0] = NOTHING
        return OfFew(found.indptr, found.indices, found.data, self._users.shape[1])

    def _set(self, users: sparse.csr_matrix) -> None:
        self._users, self._by_item = users, users.T.tocsr()

    def _weighted(self, taken: sparse.csr_matrix) -> sparse.csr_matrix:
        """What was taken, with TF-IDF its root, times what it says, each row of length 1."""
        assert self._weight is not None
        rows = sparse.csr_matrix(taken)
        amount = np.sqrt(rows.data) if self.config.weighting == "tfidf" else rows.data
        rows.data = amount * self._weight[rows.indices]
        length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        return sparse.csr_matrix(sparse.diags(1.0 / np.maximum(length, 1e-12)) @ rows, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Writes the users' weighted items, without their names."""
        if self._users is None or self._weight is None:
            raise NotFittedError("user_neighbours: nothing to save before fit")
        sparse.save_npz(folder / _USERS, self._users, compressed=False)
        np.save(folder / "weight.npy", self._weight)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(UserNeighboursConfig(**json.loads((folder / _CONFIG).read_text())))
        source._set(sparse.csr_matrix(sparse.load_npz(folder / _USERS)))
        source._weight = np.load(folder / "weight.npy", allow_pickle=False)
        return source
