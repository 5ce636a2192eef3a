"""Batches for training, made by vectorised code from whole arrays: nothing is fetched one by one or collated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


class Shuffled(Dataset[T], Generic[T]):
    """Batches of rows, in another order each epoch.

    Args:
        count: how many rows there are.
        size: of a batch; the last one is smaller.
        seed: of the orders.
        make: rows [b], ascending -> their batch.
    """

    def __init__(self, count: int, size: int, seed: int, make: Callable[[npt.NDArray[np.intp]], T]) -> None:
        self._size, self._make = size, make
        self._random = np.random.default_rng(seed)
        self._order = np.arange(count)

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __getitem__(self, index: int) -> T:
        if index >= len(self):
            raise IndexError(index)
        if index == 0:
            self._random.shuffle(self._order)
        return self._make(np.sort(self._order[index * self._size : (index + 1) * self._size]))


def batches(data: Dataset[T]) -> DataLoader[T]:
    """A loader that hands a dataset's batches on as they are, in this process."""
    return DataLoader(data, batch_size=None)
