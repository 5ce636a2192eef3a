"""What every source of candidates is and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from models.batch import Ints, StateBatch
from models.interactions import Interactions

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What may be proposed to each of B users."""

    barred: Sequence[Ints]
    """Sorted ids that may not."""
    allowed: Sequence[Ints | None]
    """Sorted ids of the only items that may; None: all."""

    @classmethod
    def none(cls, count: int) -> Limits:
        """Everything to everybody."""
        return cls([np.empty(0, dtype=np.int32)] * count, [None] * count)

    def without(self, rows: Ints, items: Ints) -> Limits:
        """The same limits, and further pairs [M] of user (ascending) and item barred."""
        bounds = np.searchsorted(rows, np.arange(len(self.barred) + 1))
        own = [np.unique(np.append(out, items[bounds[n] : bounds[n + 1]])) for n, out in enumerate(self.barred)]
        return Limits(own, self.allowed)


class Asked(Protocol):
    """A source's scores for the B users of a batch, to be asked for parts: never users × items, unless by `dense`."""

    def best(self, k: int, limits: Limits) -> Ints:
        """[B, k] ids of the best items within the limits, best first, 0 where there are fewer."""
        ...

    def of(self, items: Ints) -> Scores:
        """[B, C] scores of items [B, C], `NOTHING` where the source has no reason to propose the item."""
        ...

    def dense(self) -> Scores:
        """[B, n_items] every score."""
        ...


class Source(ABC):
    """A retrieval model that knows users only through their states, so new events and new users count at once."""

    name: ClassVar[str]
    config: Any
    """The choices it was made with, a frozen dataclass."""

    @abstractmethod
    def fit(self, events: Interactions, now: float) -> Self:
        """Learns from the events, all of them before `now` (epoch s); called again, it follows the newer events."""

    def go_on(self) -> None:  # noqa: B027 - most sources are counted anew in no time
        """Has later fits begin with what was learned so far and cost a fraction: for a nightly update."""

    @abstractmethod
    def ask(self, batch: StateBatch) -> Asked:
        """What the source makes of the users, once, for all questions about them."""

    def scores(self, batch: StateBatch) -> Scores:
        """[B, n_items], `NOTHING` where the source has no reason to propose the item (always for item 0)."""
        return self.ask(batch).dense()

    @property
    def is_whole(self) -> bool:
        """Whether everything that makes it fast could be loaded; without, the answers are the same or better."""
        return True

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes everything that `load` needs into an existing folder, without pickle."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""


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
