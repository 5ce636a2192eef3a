"""What goes with the items this user has: TF-IDF weighted item-to-item neighbours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from implicit.nearest_neighbours import all_pairs_knn, normalize, tfidf_weight
from scipy import sparse

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING
from models.interactions import Interactions
from models.sources.asked import OfFew
from models.sources.base import Source

_CONFIG = "neighbours.json"
_PARTS = ("data", "indices", "indptr")


@dataclass(frozen=True)
class NeighboursConfig:
    """How neighbours are found and asked."""

    neighbours: int = 60
    """Neighbours kept per item."""
    fit_half_life_days: float = 180.0
    """Decay of the events that similarity is learned from."""
    own: int = 100
    """Own items that are asked with, those of the most weight; the rest says little and costs as much."""
    threads: int = 0
    """0: all cores."""


class Neighbours(Source):
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

    def ask(self, batch: StateBatch) -> OfFew:
        """The neighbours of the users' own items."""
        if self.similarity is None:
            raise NotFittedError("neighbours: call fit or load first")
        strong = batch.strongest(self.config.own)
        weight = np.log1p(batch.own_decayed[strong]).astype(np.float32)
        bounds = np.searchsorted(strong, batch.own_bounds)
        query = sparse.csr_matrix(
            (weight, batch.own_item[strong], bounds), shape=(len(batch), self.similarity.shape[0])
        )
        found = query @ self.similarity
        found.data[found.data <= 0] = NOTHING
        return OfFew(found.indptr, found.indices, found.data, self.similarity.shape[0])

    def save(self, folder: Path) -> None:
        """Writes the similarity matrix."""
        if self.similarity is None:
            raise NotFittedError("neighbours: nothing to save before fit")
        for part in _PARTS:
            np.save(folder / f"{part}.npy", getattr(self.similarity, part))
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. The matrix is mapped, so that several processes share it in memory."""
        source = cls(NeighboursConfig(**json.loads((folder / _CONFIG).read_text())))
        parts = tuple(np.asarray(np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False)) for part in _PARTS)
        size = len(parts[2]) - 1
        source.similarity = sparse.csr_matrix(parts, shape=(size, size), copy=False)
        return source
