"""What this user takes again: frequency with decay."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from models.batch import StateBatch
from models.errors import NotFittedError
from models.interactions import Interactions
from models.sources.asked import OfFew
from models.sources.base import Source
from models.state import OWN

_FILE = "own.json"


@dataclass(frozen=True)
class OwnConfig:
    """Which decay the rule uses."""

    column: str = "own_decayed"
    """The state's column: `own_decayed` has a half-life of 90 days, `_fast` 14, `_slow` 365."""


class Own(Source):
    """Score of an item: log of the decayed weight of the user's own events on it; all of it is in the state."""

    name: ClassVar[str] = "own"

    def __init__(self, config: OwnConfig = OwnConfig()) -> None:
        self.config = config
        self.n_items: int | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Learns only how many items there are."""
        self.n_items = events.n_items
        return self

    def ask(self, batch: StateBatch) -> OfFew:
        """The users' own items."""
        if self.n_items is None:
            raise NotFittedError("own: call fit or load first")
        weight = batch.own[:, OWN.index(self.config.column)]
        kept = weight > 0  # not where it is unknown
        bounds = np.searchsorted(batch.own_row[kept], np.arange(len(batch) + 1))
        return OfFew(bounds, batch.own_item[kept], np.log(weight[kept]).astype(np.float32), self.n_items)

    def save(self, folder: Path) -> None:
        """Writes the configuration."""
        if self.n_items is None:
            raise NotFittedError("own: nothing to save before fit")
        (folder / _FILE).write_text(json.dumps({"n_items": self.n_items, **asdict(self.config)}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        data = json.loads((folder / _FILE).read_text())
        n_items = data.pop("n_items")
        source = cls(OwnConfig(**data))
        source.n_items = n_items
        return source
