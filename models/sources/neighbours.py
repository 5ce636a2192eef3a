"""What goes with the items this user has: TF-IDF weighted item-to-item neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from implicit.nearest_neighbours import all_pairs_knn, normalize, tfidf_weight
from scipy import sparse

from models.batch import StateBatch
from models.errors import NotFittedError
from models.interactions import Interactions
from models.sources.base import NOTHING, Scores
from models.state import OWN

_FILE = "neighbours.npz"


@dataclass(frozen=True)
class NeighboursConfig:
    """How neighbours are found and asked."""

    neighbours: int = 60
    """Neighbours kept per item."""
    fit_half_life_days: float = 180.0
    """Decay of the events that similarity is learned from."""
    threads: int = 0
    """0: all cores."""


class Neighbours:
    """Score of an item: sum over the user's own items of log-damped decayed weight times similarity."""

    name: ClassVar[str] = "neighbours"

    def __init__(self, config: NeighboursConfig = NeighboursConfig()) -> None:
        self.config = config
        self.similarity: sparse.csr_matrix | None = None
        """[n_items, n_items], row: own item, column: its neighbour; no item is its own neighbour"""

    def fit(self, events: Interactions, now: float) -> Self:
        """Finds each item's neighbours."""
        weights = events.matrix(events.decayed(now, self.config.fit_half_life_days))
        weights.data = np.log1p(weights.data)
        weighted = normalize(tfidf_weight(weights.T)).T.tocsr()  # [users, n_items], each item's column has length 1
        pairs = all_pairs_knn(
            weighted, self.config.neighbours + 1, num_threads=self.config.threads, show_progress=False
        ).tocsr()
        pairs.setdiag(0)
        pairs.eliminate_zeros()
        self.similarity = pairs.astype(np.float32)
        self.similarity.sort_indices()
        return self

    def scores(self, batch: StateBatch) -> Scores:
        """[B, n_items], `NOTHING` where no own item has the item as neighbour."""
        if self.similarity is None:
            raise NotFittedError("neighbours: call fit or load first")
        weight = np.log1p(np.nan_to_num(batch.own[:, OWN.index("own_decayed")])).astype(np.float32)
        shape = (len(batch), self.similarity.shape[0])
        query = sparse.csr_matrix((weight, (batch.own_row, batch.own_item)), shape=shape)
        out: Scores = (query @ self.similarity).toarray()
        out[out <= 0] = NOTHING
        return out

    def save(self, folder: Path) -> None:
        """Writes the similarity matrix."""
        if self.similarity is None:
            raise NotFittedError("neighbours: nothing to save before fit")
        matrix = self.similarity
        np.savez(
            folder / _FILE,
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            config=np.array([str(value) for value in asdict(self.config).values()]),
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as data:
            neighbours, half_life, threads = data["config"]
            source = cls(NeighboursConfig(int(neighbours), float(half_life), int(threads)))
            size = len(data["indptr"]) - 1
            source.similarity = sparse.csr_matrix((data["data"], data["indices"], data["indptr"]), shape=(size, size))
        return source
