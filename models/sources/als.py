"""What users with similar items take: matrix factorisation, users folded in at request time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from models.batch import StateBatch
from models.errors import NotFittedError
from models.interactions import Interactions
from models.sources.base import NOTHING, Scores
from models.state import OWN

_FILE = "als.npz"


@dataclass(frozen=True)
class AlsConfig:
    """Hu, Koren, Volinsky (2008), through `implicit`."""

    factors: int = 64
    regularization: float = 1.0
    alpha: float = 0.5
    """Confidence of an event: 1 + alpha * log1p(decayed weight)."""
    iterations: int = 10
    half_life_days: float = 90.0
    """Decay of the events; the user's own weights at request time have the same."""
    threads: int = 0
    """0: all cores."""
    seed: int = 7


class Als:
    """Score of an item: its factors times the user's vector, which is solved from the state's own items."""

    name: ClassVar[str] = "als"

    def __init__(self, config: AlsConfig = AlsConfig()) -> None:
        self.config = config
        self.factors: Scores | None = None
        """[n_items, factors]"""
        self._gram: Scores | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Learns the item factors; the trained users are dropped."""
        weights = events.matrix(events.decayed(now, self.config.half_life_days))
        weights.data = self.config.alpha * np.log1p(weights.data)
        factors = max(1, min(self.config.factors, events.n_items - 1))
        # BLAS' own threads and implicit's would fight for the cores.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=factors,
                regularization=self.config.regularization,
                iterations=self.config.iterations,
                num_threads=self.config.threads,
                random_state=self.config.seed,
            )
            model.fit(weights.astype(np.float32), show_progress=False)
        learned = np.asarray(model.item_factors, dtype=np.float32)
        seen = np.zeros(events.n_items, dtype=bool)
        seen[events.item] = True
        learned[~seen] = 0.0
        self._set(learned)
        return self

    def users(self, batch: StateBatch) -> Scores:
        """[B, factors] the users' vectors, solved from their own items."""
        if self.factors is None or self._gram is None:
            raise NotFittedError("als: call fit or load first")
        weight = self.config.alpha * np.log1p(np.nan_to_num(batch.own[:, OWN.index("own_decayed")]))
        weight = weight.astype(np.float32)
        bounds = np.searchsorted(batch.own_row, np.arange(len(batch) + 1))
        out = np.zeros((len(batch), self.factors.shape[1]), dtype=np.float32)
        for row, (start, stop) in enumerate(pairwise(bounds)):
            if start == stop:
                continue
            own = self.factors[batch.own_item[start:stop]]  # [n own, factors]
            confidence = weight[start:stop]
            # As implicit does: the matrix' value is the confidence above zero preference, preference itself is 1.
            left = self._gram + own.T @ (own * np.maximum(confidence - 1.0, 0.0)[:, None])
            out[row] = np.linalg.solve(left, own.T @ np.maximum(confidence, 1.0))
        return out

    def scores(self, batch: StateBatch) -> Scores:
        """[B, n_items], `NOTHING` for a user without known items and for items without events."""
        users = self.users(batch)
        assert self.factors is not None
        out: Scores = users @ self.factors.T
        out += self._unseen
        out[~users.any(axis=1)] = NOTHING
        return out

    def save(self, folder: Path) -> None:
        """Writes the item factors."""
        if self.factors is None:
            raise NotFittedError("als: nothing to save before fit")
        config = {name: np.array(value) for name, value in asdict(self.config).items() if name != "factors"}
        np.savez(folder / _FILE, allow_pickle=False, factors=self.factors, **config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as data:
            config = {name: data[name].item() for name in data.files if name != "factors"}
            source = cls(AlsConfig(factors=data["factors"].shape[1], **config))
            source._set(data["factors"])
        return source

    def _set(self, factors: Scores) -> None:
        self.factors = factors
        ridge = self.config.regularization * np.eye(factors.shape[1], dtype=np.float32)
        self._gram = factors.T @ factors + ridge
        # Added to the scores: much faster than a boolean index over all items.
        self._unseen = np.where(factors.any(axis=1), np.float32(0.0), NOTHING)
