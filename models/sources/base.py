"""What every source of candidates is and does."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from models.batch import Ints, StateBatch
from models.interactions import Interactions

Scores = npt.NDArray[np.float32]
NOTHING = np.float32(-np.inf)
"""The score of an item that a source has no reason to propose."""


class Source(Protocol):
    """A retrieval model that knows users only through their states, so new events and new users count at once."""

    name: ClassVar[str]

    def fit(self, events: Interactions, now: float) -> Self:
        """Learns from the events, all of them before `now` (epoch s); called again, it follows the newer events."""
        ...

    def scores(self, batch: StateBatch) -> Scores:
        """[B, n_items], `NOTHING` where the source has no reason to propose the item (always for item 0)."""
        ...

    def save(self, folder: Path) -> None:
        """Writes everything that `load` needs into an existing folder, without pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        ...


def top_k(scores: Scores, k: int) -> tuple[Ints, Scores]:
    """The best k of each row of [B, n_items], best first; ids are 0 where fewer than k have a score.

    Equal scores are ordered by the smaller id, so results do not depend on the sort's whims.
    """
    k = min(k, scores.shape[1])
    # torch's selection takes a third of the time of numpy's argpartition here.
    part = torch.topk(torch.from_numpy(np.ascontiguousarray(scores)), k, dim=1, sorted=False).indices.numpy()
    part = np.sort(part, axis=1)
    values = np.take_along_axis(scores, part, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    ids = np.where(np.isfinite(values), np.take_along_axis(part, order, axis=1), 0)
    return ids.astype(np.int32), values
