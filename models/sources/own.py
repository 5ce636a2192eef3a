"""What this user takes again: frequency with decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models.batch import StateBatch
from models.errors import NotFittedError
from models.sources.asked import OfFew
from models.sources.from_state import FromState
from models.state import OWN


@dataclass(frozen=True)
class OwnConfig:
    """Which decay the rule uses."""

    column: str = "own_decayed"
    """The state's column: `own_decayed` has a half-life of 90 days, `_fast` 14, `_slow` 365."""


class Own(FromState):
    """Score of an item: log of the decayed weight of the user's own events on it; all of it is in the state."""

    name: ClassVar[str] = "own"
    config_class = OwnConfig

    def __init__(self, config: OwnConfig = OwnConfig()) -> None:
        super().__init__(config)

    def ask(self, batch: StateBatch) -> OfFew:
        """The users' own items."""
        if self.n_items is None:
            raise NotFittedError("own: call fit or load first")
        weight = batch.own[:, OWN.index(self.config.column)]
        kept = weight > 0  # not where it is unknown
        bounds = np.searchsorted(batch.own_row[kept], np.arange(len(batch) + 1))
        return OfFew(bounds, batch.own_item[kept], np.log(weight[kept]).astype(np.float32), self.n_items)
