"""Time between a user's events, in buckets that a network has embeddings of."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.state import DAY_S

Array = npt.NDArray[Any]

GAP_BUCKETS: Final = 16


def gap_buckets(times: Array) -> Array:
    """[B, L] epoch seconds, 0 where padded -> buckets of the log time since the event before."""
    gap = np.zeros(times.shape)
    gap[:, 1:] = np.where((times[:, 1:] > 0) & (times[:, :-1] > 0), np.diff(times, axis=1), 0.0)
    return _bucket(gap)


def gap_buckets_flat(times: Array, users: Array) -> Array:
    """[E] buckets of the log time since the same user's event before."""
    gap = np.diff(times, prepend=times[:1])
    return _bucket(np.where(np.diff(users, prepend=-1) == 0, gap, 0.0))


def _bucket(seconds: Array) -> Array:
    """0 for the same moment, then doubling from a minute to weeks."""
    minutes = np.maximum(seconds, 0.0) * 24 * 60 / DAY_S
    return np.minimum(np.ceil(np.log2(1.0 + minutes)), GAP_BUCKETS - 1).astype(np.int64)
