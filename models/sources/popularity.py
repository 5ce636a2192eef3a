"""What everybody takes lately."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from models.batch import Ints, StateBatch
from models.errors import NotFittedError
from models.index import NOTHING
from models.interactions import Interactions
from models.sources.asked import ForAll
from models.sources.base import Scores, Source

_FILE = "popularity.npz"


@dataclass(frozen=True)
class PopularityConfig:
    """How popularity is counted."""

    half_life_days: float = 14.0
    """Age at which an event counts half."""


class Popularity(Source):
    """Score of an item: log of the decayed weight of all events on it, the same for every user."""

    name: ClassVar[str] = "popularity"

    def __init__(self, config: PopularityConfig = PopularityConfig()) -> None:
        self.config = config
        self.item_scores: Scores | None = None
        """[n_items]"""
        self._order: Ints | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Counts decayed events per item."""
        decayed = events.decayed(now, self.config.half_life_days)
        total = np.bincount(events.item, weights=decayed, minlength=events.n_items)
        with np.errstate(divide="ignore"):
            scores = np.log(total).astype(np.float32)
        scores[0] = NOTHING
        self._set(scores)
        return self

    def ask(self, batch: StateBatch) -> ForAll:
        """The same list for everybody."""
        if self.item_scores is None or self._order is None:
            raise NotFittedError("popularity: call fit or load first")
        return ForAll(len(batch), self.item_scores, self._order)

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
            source._set(data["item_scores"])
        return source

    def _set(self, scores: Scores) -> None:
        self.item_scores = scores
        known = np.flatnonzero(np.isfinite(scores))
        self._order = known[np.argsort(-scores[known], kind="stable")].astype(np.int32)
