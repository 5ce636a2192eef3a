"""What goes with the items this user has: item-to-item neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
from implicit.nearest_neighbours import all_pairs_knn, bm25_weight, normalize, tfidf_weight

from models.batch import StateBatch
from models.interactions import Interactions
from models.sources.item_item import ItemItem, Taste
from models.sources.pearson import correlated

_WEIGHTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "cosine": lambda weights: weights,
    "tfidf": tfidf_weight,
    "bm25": bm25_weight,
}


@dataclass(frozen=True)
class NeighboursConfig:
    """How neighbours are found and asked."""

    neighbours: int = 60
    """Neighbours kept per item."""
    weighting: Literal["cosine", "pearson", "tfidf", "bm25"] = "tfidf"
    """Of what users took: `tfidf` and `bm25` count a user for less in two items' similarity the more that user takes,
    `cosine` counts all alike, `pearson` is the cosine of what is above each item's mean over all users."""
    fit_half_life_days: float = 180.0
    """Decay of the events that similarity is learned from."""
    own: int = 100
    """Own items that are asked with, those of the most weight; the rest says little and costs as much."""
    threads: int = 0
    """0: all cores."""


class Neighbours(ItemItem):
    """Ties: the weighted cosine of the items' users, or their correlation; own items count by log-damped weight."""

    name: ClassVar[str] = "neighbours"
    config_class = NeighboursConfig

    def __init__(self, config: NeighboursConfig = NeighboursConfig()) -> None:
        super().__init__(config)

    def fit(self, events: Interactions, now: float) -> Self:
        """Finds each item's neighbours."""
        weights = events.matrix(events.decayed(now, self.config.fit_half_life_days))
        weights.data = np.log1p(weights.data)
        count = self.config.neighbours + 1  # an item is its own nearest
        if self.config.weighting == "pearson":
            self._set(correlated(weights, count))
            return self
        weighted = _WEIGHTINGS[self.config.weighting](weights.T)
        by_user = normalize(weighted).T.tocsr()  # [users, n_items], each item's column has length 1
        self._set(all_pairs_knn(by_user, count, num_threads=self.config.threads, show_progress=False))
        return self

    def taste(self, batch: StateBatch) -> Taste:
        """The strongest items by log-damped decayed weight."""
        strong = batch.strongest(self.config.own)
        return strong, np.log1p(batch.own_decayed[strong]).astype(np.float32)
