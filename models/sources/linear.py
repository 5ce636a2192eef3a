"""What a linear model of all items together says: EASE (Steck, 2019), whose weights are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
from scipy import linalg, sparse

from models.batch import StateBatch
from models.errors import TooLargeError
from models.interactions import Interactions
from models.sources.base import Scores
from models.sources.item_item import ItemItem, Taste

_BYTES: Final = 3 * 4
"""Per pair of items: the sparse counts while they are laid out, or the weights beside the inverse."""
_COLUMNS: Final = 1_000
"""Of the weights that are sorted at once."""


@dataclass(frozen=True)
class LinearConfig:
    """The model."""

    regularization: float = 200.0
    """The ridge: the more, the closer the weights are to plain co-occurrence."""
    popularity_power: float = 0.0
    """An item's events are divided by their number to this power: 0 leaves popular items their weight."""
    kept: int = 300
    """Weights kept per item, the largest by size."""
    most_items: int = 30_000
    """The inversion needs items² × 12 bytes and items³ steps: 11 GB and minutes for so many."""


class Linear(ItemItem):
    """Ties: the weights with which the other items best foretell each item; every own item counts once."""

    name: ClassVar[str] = "linear"
    config_class = LinearConfig

    def __init__(self, config: LinearConfig = LinearConfig()) -> None:
        super().__init__(config)

    def fit(self, events: Interactions, now: float) -> Self:
        """Solves for the weights.

        Raises:
            TooLargeError: there are more items than the configuration admits.
        """
        config = self.config
        items = np.unique(events.item)
        if len(items) > config.most_items:
            needed = len(items) ** 2 * _BYTES / 1e9
            raise TooLargeError(
                f"linear: {len(items)} items need {needed:.0f} GB, `most_items` admits {config.most_items}; "
                "leave this source out, or raise it where there is the memory"
            )
        taken = events.taken()[:, items]
        popular = np.maximum(np.asarray(taken.sum(axis=0)).ravel(), 1.0) ** config.popularity_power
        # In Fortran's order LAPACK inverts in place.
        gram = (taken.T @ taken).toarray(order="F")
        gram[np.diag_indices_from(gram)] += config.regularization
        weights = linalg.inv(gram, overwrite_a=True, check_finite=False)
        weights /= -(np.diag(weights) * popular)
        np.fill_diagonal(weights, 0.0)
        self._set(_largest(weights, items, config.kept, events.n_items))
        return self

    def taste(self, batch: StateBatch) -> Taste:
        """All items alike."""
        count = len(batch.own_item)
        return np.arange(count), np.ones(count, dtype=np.float32)


def _largest(weights: Scores, items: np.ndarray, kept: int, n_items: int) -> sparse.coo_matrix:
    """[n_items, n_items] each column's largest weights by size."""
    kept = min(kept, len(items))
    parts = []
    for start in range(0, len(items), _COLUMNS):
        block = weights[:, start : start + _COLUMNS]
        rows = np.argpartition(-np.abs(block), kept - 1, axis=0)[:kept]  # [kept, columns]
        columns = np.broadcast_to(items[start : start + _COLUMNS], rows.shape)
        parts.append((np.take_along_axis(block, rows, axis=0).ravel(), items[rows.ravel()], columns.ravel()))
    values, rows, columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sparse.coo_matrix((values, (rows, columns)), shape=(n_items, n_items))
