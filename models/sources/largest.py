"""The largest values of each row of a sparse matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def largest(matrix: sparse.spmatrix, count: int) -> sparse.csr_matrix:
    """The same matrix with no more than `count` values in each row."""
    matrix = matrix.tocsr()
    bounds = matrix.indptr
    kept = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if stop - start > count:
            kept.append(start + np.argpartition(-matrix.data[start:stop], count - 1)[:count])
        else:
            kept.append(np.arange(start, stop))
    at = np.concatenate([*kept, np.empty(0, dtype=np.intp)])
    indptr = np.append(0, np.cumsum([len(part) for part in kept]))
    return sparse.csr_matrix((matrix.data[at], matrix.indices[at], indptr), shape=matrix.shape)
