"""Items that go up and down together over the users: Pearson's correlation of the columns of a sparse matrix."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import sparse

from models.sources.largest import largest

_TOGETHER: Final = 1_000
"""Columns that are compared with all others at once."""


def correlated(values: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """[n, n] the largest positive correlations of each column of [users, n], over all users: no value is a 0.

    Without a user in common two columns never correlate above 0, so only pairs that have one are looked at.
    """
    users = values.shape[0]
    columns = values.tocsc().astype(np.float64)
    mean = np.asarray(columns.mean(axis=0)).ravel()
    squares = np.asarray(columns.multiply(columns).mean(axis=0)).ravel()
    deviation = np.sqrt(np.maximum(squares - mean**2, 0.0))
    parts = []
    for start in range(0, columns.shape[1], _TOGETHER):
        both = (columns[:, start : start + _TOGETHER].T @ columns).tocoo()  # [columns, n]
        row = both.row + start
        scale = deviation[row] * deviation[both.col]
        # A column with the same value for all correlates with nothing.
        covariance = np.where(scale > 1e-12, both.data / users - mean[row] * mean[both.col], 0.0)
        positive = covariance > 0
        values_of = (covariance[positive] / scale[positive], (both.row[positive], both.col[positive]))
        parts.append(largest(sparse.coo_matrix(values_of, shape=both.shape), count))
    return sparse.vstack(parts).tocsr()
