"""What sources have in common that score an item by its ties to each item that the user has."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING
from models.sources.asked import OfFew
from models.sources.base import Scores, Source

Taste = tuple[npt.NDArray[np.intp], Scores]
"""Ascending positions [K] in the own parts of a batch, and the weight [K] that the items there are asked with."""
_PARTS = ("data", "indices", "indptr")


class ItemItem(Source):
    """Score of an item: the sum over the user's own items of their weight times their tie to it."""

    config_class: ClassVar[Any]
    """What the configuration is made of, when it is read back."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.ties: sparse.csr_matrix | None = None
        """[n_items, n_items], row: an own item, column: another one; no item is tied to itself"""

    @abstractmethod
    def taste(self, batch: StateBatch) -> Taste:
        """What the users' own items are worth."""

    def ask(self, batch: StateBatch) -> OfFew:
        """The items that the users' own ones are tied to."""
        if self.ties is None:
            raise NotFittedError(f"{self.name}: call fit or load first")
        size = self.ties.shape[0]
        at, weight = self.taste(batch)
        bounds = np.searchsorted(at, batch.own_bounds)
        query = sparse.csr_matrix((weight, batch.own_item[at], bounds), shape=(len(batch), size))
        found = query @ self.ties
        found.data[found.data <= 0] = NOTHING
        return OfFew(found.indptr, found.indices, found.data, size)

    def save(self, folder: Path) -> None:
        """Writes the ties."""
        if self.ties is None:
            raise NotFittedError(f"{self.name}: nothing to save before fit")
        for part in _PARTS:
            np.save(folder / f"{part}.npy", getattr(self.ties, part))
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. The matrix is mapped, so that several processes share it in memory."""
        source = cls(cls.config_class(**json.loads((folder / f"{cls.name}.json").read_text())))
        parts = tuple(np.asarray(np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False)) for part in _PARTS)
        size = len(parts[2]) - 1
        source.ties = sparse.csr_matrix(parts, shape=(size, size), copy=False)
        return source

    def _set(self, ties: sparse.spmatrix) -> None:
        """Keeps the ties, none of an item to itself."""
        ties = ties.tocsr().astype(np.float32)
        ties.setdiag(0)
        ties.eliminate_zeros()
        ties.sort_indices()
        self.ties = ties
