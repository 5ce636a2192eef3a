"""How a column's values are spread, coarsely enough to be kept and compared with the next run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

NULL = "null"
TENTHS = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class Spread:
    """Counts of values per bin: up to the first edge, between two edges, above the last, and null.

    Args:
        edges: upper ends of the bins, increasing; a value on an edge lies below it.
        counts: [len(edges) + 2], the nulls last.
    """

    edges: list[float]
    counts: list[int]

    @classmethod
    def of(cls, values: pd.Series) -> Spread:
        """The spread of a column over bins of its own: tenths of its values, with a bin for zero, where counts pile up.

        Args:
            values: float64, nulls as NaN.
        """
        present = values.to_numpy(np.float64)
        present = present[np.isfinite(present) & (present != 0)]
        edges = np.unique(np.concatenate([[0.0], np.quantile(present, TENTHS) if len(present) else []]))
        counts = np.bincount(_bins(values, edges), minlength=len(edges) + 2)
        return cls(edges.tolist(), counts.tolist())

    @property
    def rows(self) -> int:
        return sum(self.counts)

    @property
    def null_share(self) -> float:
        return self.counts[-1] / max(self.rows, 1)

    @property
    def labels(self) -> list[str]:
        """Names of the bins, for people: `0: ≤ 0`, `1: ≤ 1.5`, …, `10: > 9`, `11: null`."""
        names = [*(f"≤ {edge:.6g}" for edge in self.edges), f"> {self.edges[-1]:.6g}", NULL]
        # With their place: two close edges may read the same.
        return [f"{place}: {name}" for place, name in enumerate(names)]

    @property
    def weights(self) -> list[float]:
        """Share of each bin. An empty bin counts half a value: one value that turns up in it is no infinite change."""
        smoothed = np.asarray(self.counts) + 0.5
        return (smoothed / smoothed.sum()).tolist()

    def labelled(self, values: pd.Series) -> pd.Series:
        """The label of each value's bin."""
        return pd.Series(np.asarray(self.labels, dtype=object)[_bins(values, np.asarray(self.edges))])

    @property
    def partition(self) -> dict[str, list[Any]]:
        """What Great Expectations compares with: the labels and their weights."""
        return {"values": self.labels, "weights": self.weights}


def _bins(values: pd.Series, edges: np.ndarray) -> np.ndarray:
    """Bin of each value, int [rows]."""
    numbers = values.to_numpy(np.float64)
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="left"))
