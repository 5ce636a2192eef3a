"""What everybody takes lately."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from models.batch import StateBatch
from models.errors import NotFittedError
from models.interactions import Interactions
from models.sources.base import NOTHING, Scores

_FILE = "popularity.npz"


@dataclass(frozen=True)
class PopularityConfig:
    """How popularity is counted."""

    half_life_days: float = 14.0
    """Age at which an event counts half."""


class Popularity:
    """Score of an item: log of the decayed weight of all events on it, the same for every user."""

    name: ClassVar[str] = "popularity"

    def __init__(self, config: PopularityConfig = PopularityConfig()) -> None:
        self.config = config
        self.item_scores: Scores | None = None
        """[n_items]"""

    def fit(self, events: Interactions, now: float) -> Self:
        """Counts decayed events per item."""
        decayed = events.decayed(now, self.config.half_life_days)
        total = np.bincount(events.item, weights=decayed, minlength=events.n_items)
        with np.errstate(divide="ignore"):
            self.item_scores = np.log(total).astype(np.float32)
        self.item_scores[0] = NOTHING
        return self

    def scores(self, batch: StateBatch) -> Scores:
        """[B, n_items] the same row for everybody."""
        if self.item_scores is None:
            raise NotFittedError("popularity: call fit or load first")
        return np.broadcast_to(self.item_scores, (len(batch), len(self.item_scores)))

    def save(self, folder: Path) -> None:
        """Writes the item scores."""
        if self.item_scores is None:
            raise NotFittedError("popularity: nothing to save before fit")
        np.savez(folder / _FILE, item_scores=self.item_scores, half_life_days=self.config.half_life_days)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as data:
            source = cls(PopularityConfig(float(data["half_life_days"])))
            source.item_scores = data["item_scores"]
        return source
