"""How far two distributions are from each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

Counts = npt.NDArray[np.float64]
"""[bins] how many fell into each"""


def distance(ours: Counts, theirs: Counts) -> float:
    """Jensen-Shannon distance to the base of 2: 0 for the same shares, 1 for nothing in common.

    Unlike the Kullback-Leibler divergence it needs no smoothing where a bin is empty. Nothing at all is as far as can
    be from something, and from nothing no way off.
    """
    if not ours.sum() or not theirs.sum():
        return float(bool(ours.sum()) != bool(theirs.sum()))
    return float(np.nan_to_num(jensenshannon(ours, theirs, base=2)))


def to_the_others(counts: npt.NDArray[np.float64]) -> list[float]:
    """Of each row of [stretches, bins] the distance to the sum of the other rows."""
    total = counts.sum(axis=0)
    return [distance(row, total - row) for row in counts]
