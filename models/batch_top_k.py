"""The best items of very many users at once, exactly: block by block, never users × items in memory.

The scores of a block are laid out in groups, and only each group's largest is sorted: an item that is among the best k
is in one of the k groups with the largest maxima, so nothing else needs to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from models.batch import Ints
from models.errors import NanScoreError
from models.sources.base import Scores

BLOCK: Final = 256
"""Users whose scores are in memory at once: 100 MB for 100,000 items."""
_GROUP: Final = 16
"""Items of a group; the k groups are then looked at item by item."""


def best_of_all(
    users: Scores, items: Scores, k: int, barred: sparse.csr_matrix | None = None, *, block: int = BLOCK
) -> Iterator[tuple[npt.NDArray[np.intp], Ints, Scores]]:
    """The k items with the largest products for each user, best first; which of equal ones come is left open.

    Args:
        users: [U, d]
        items: [m, d]
        k: at least 1.
        barred: [U, m] what may not come, by its pattern; None: everything may.
        block: users at once.

    Yields:
        Block by block: the users' places [b], the items' places [b, k] and their scores [b, k]; -1 and -inf where there
        are fewer.

    Raises:
        NanScoreError: a vector holds what is no number.
    """
    if not (np.isfinite(users).all() and np.isfinite(items).all()):
        raise NanScoreError("a user's or an item's vector holds NaN or infinity")
    count = len(items)
    k = min(k, count)
    groups = -(-count // _GROUP)
    # Item n is in group n % groups: a group's members are then far apart in memory, and its maximum is that of rows.
    padded = torch.zeros(groups * _GROUP, items.shape[1])
    padded[:count] = torch.from_numpy(np.ascontiguousarray(items, dtype=np.float32))
    columns = padded.T.contiguous()
    every = torch.from_numpy(np.ascontiguousarray(users, dtype=np.float32))
    room = torch.empty(min(block, len(users)), groups * _GROUP)  # one for all: new pages for each cost a fifth
    for start in range(0, len(users), block):
        rows = np.arange(start, min(start + block, len(users)))
        scores = torch.mm(every[rows[0] : rows[-1] + 1], columns, out=room[: len(rows)])  # [b, groups * _GROUP]
        scores[:, count:] = -torch.inf
        if barred is not None:
            part = barred[rows[0] : rows[-1] + 1].tocoo()
            at = tuple(torch.from_numpy(axis.astype(np.int64)) for axis in (part.row, part.col))
            scores[at] = -torch.inf
        place, value = _best(scores, k, groups)
        yield rows, place, value


def _best(scores: torch.Tensor, k: int, groups: int) -> tuple[Ints, Scores]:
    if groups <= k:
        candidates = torch.arange(scores.shape[1]).expand_as(scores)
    else:
        largest = scores.view(len(scores), _GROUP, groups).amax(1)
        chosen = largest.topk(k, dim=1, sorted=False).indices  # [b, k]
        candidates = (chosen[:, None, :] + groups * torch.arange(_GROUP)[None, :, None]).flatten(1)
    candidates = candidates.sort(dim=1).values
    values = scores.gather(1, candidates)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    value = values.gather(1, order)
    place = torch.where(torch.isfinite(value), candidates.gather(1, order), -1)
    return place.numpy().astype(np.int32), value.numpy()
