"""What this user had to do with last: the simplest rule of all, and a strong one where carts lead to purchases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from feature_repo.schema import EVENT_TYPES, IMPRESSION
from models.batch import StateBatch
from models.errors import NotFittedError
from models.sources.asked import OfFew
from models.sources.from_state import FromState


@dataclass(frozen=True)
class RecentConfig:
    """Which events count."""

    kinds: tuple[str, ...] = tuple(kind for kind in EVENT_TYPES if kind != IMPRESSION)


class Recent(FromState):
    """Score of an item: minus the log of the hours since the user's last event with it, of the session's events."""

    name: ClassVar[str] = "recent"
    config_class = RecentConfig

    def __init__(self, config: RecentConfig = RecentConfig()) -> None:
        super().__init__(config)

    def ask(self, batch: StateBatch) -> OfFew:
        """The users' last items."""
        if self.n_items is None:
            raise NotFittedError("recent: call fit or load first")
        kinds = [EVENT_TYPES.index(kind) + 1 for kind in self.config.kinds]
        row, at = np.nonzero((batch.session_item > 0) & np.isin(batch.session_type, kinds))
        item = batch.session_item[row, at]
        # From the end: the first place of a pair is the last event of it.
        _, last = np.unique((row.astype(np.int64) * self.n_items + item)[::-1], return_index=True)
        kept = np.sort(len(row) - 1 - last)
        row, at, item = row[kept], at[kept], item[kept]
        hours = np.maximum(batch.now[row] - batch.session_time[row, at], 0.0) / 3600.0
        bounds = np.searchsorted(row, np.arange(len(batch) + 1))
        # Of events at one moment the later one counts more.
        return OfFew(bounds, item, (-np.log1p(hours) + 1e-4 * at).astype(np.float32), self.n_items)
