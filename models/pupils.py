"""Whom a lesson is about, drawn before a state is read: reading those of all users would cost more than the lesson."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from feature_repo.schema import EVENT_TYPE, TIMESTAMP, USER_ID
from models.ranker import HEADS, head_of
from models.ranker_training import MOST_SPARED, RankerTrainingConfig


@dataclass(frozen=True)
class Pupils:
    """Users who were known at the lesson's cut and did anything in its horizon."""

    learning: list[str]
    """Those that the ranker learns from; each did what it predicts."""
    spared: list[str]
    """Those that tell how often something happens: drawn first and from all, so that they are like all."""

    @property
    def names(self) -> list[str]:
        return [*self.learning, *self.spared]

    @classmethod
    def drawn(cls, frame: pd.DataFrame, cut: float, end: float, target: str, config: RankerTrainingConfig) -> Self:
        """By lot, the same ones for the same seed.

        Args:
            frame: events as `frame_of` gives them.
            cut: epoch seconds,
            end: until when things count.
            target: the event type that is predicted.
        """
        time = frame[TIMESTAMP]
        horizon = frame[(time >= cut) & (time < end)]
        taken = set(horizon.loc[horizon[EVENT_TYPE].isin(HEADS[head_of(target)]), USER_ID])
        active = np.intersect1d(horizon[USER_ID].unique(), frame.loc[time < cut, USER_ID].unique())
        lot = np.random.default_rng(config.seed).permutation(active).tolist()
        spared = min(int(len(lot) * config.validation_share), MOST_SPARED)
        learning = [user for user in lot[spared:] if user in taken]
        return cls(sorted(learning[: config.refresh_users]), sorted(lot[:spared]))
