"""What users with similar items take: matrix factorisation, users folded in at request time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING, VectorIndex
from models.interactions import Interactions
from models.sources.asked import ByVector
from models.sources.base import Scores, Source

_CONFIG, _FACTORS, _INDEX = "als.json", "factors.npy", "index"
_NEW = 0.01
"""Factors of what was never seen are below it, as where `implicit` begins."""


@dataclass(frozen=True)
class AlsConfig:
    """Hu, Koren, Volinsky (2008), through `implicit`."""

    factors: int = 64
    regularization: float = 1.0
    alpha: float = 0.5
    """Confidence of an event: 1 + alpha * log1p(decayed weight)."""
    iterations: int = 10
    update_iterations: int = 2
    """Of a fit that goes on from the item factors of an earlier one."""
    half_life_days: float = 90.0
    """Decay of the events; the user's own weights at request time have the same."""
    threads: int = 0
    """0: all cores."""
    seed: int = 7


class Als(Source):
    """Score of an item: its factors times the user's vector, which is solved from the state's own items."""

    name: ClassVar[str] = "als"

    def __init__(self, config: AlsConfig = AlsConfig()) -> None:
        self.config = config
        self._goes_on = False
        self.factors: Scores | None = None
        """[n_items, factors]"""
        self._gram: Scores | None = None
        self._index: VectorIndex | None = None

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
                iterations=self.config.update_iterations if self._goes_on else self.config.iterations,
                num_threads=self.config.threads,
                random_state=self.config.seed,
            )
            if self._goes_on:
                model.item_factors = self._grown(events.n_items, factors)
            model.fit(weights.astype(np.float32), show_progress=False)
        learned = np.asarray(model.item_factors, dtype=np.float32)
        seen = np.zeros(events.n_items, dtype=bool)
        seen[events.item] = True
        learned[~seen] = 0.0
        self._set(learned)
        return self

    def go_on(self) -> None:
        self._goes_on = self.factors is not None

    def _grown(self, n_items: int, width: int) -> Scores:
        """[n_items, width] the factors so far, and nearly nothing for new items: they are solved from their users'."""
        assert self.factors is not None
        rng = np.random.default_rng(self.config.seed)
        grown = (rng.random((n_items, width)) * _NEW).astype(np.float32)
        rows, columns = self.factors.shape
        grown[:rows, :columns] = np.where(self.factors.any(axis=1, keepdims=True), self.factors, grown[:rows, :columns])
        return grown

    def users(self, batch: StateBatch) -> Scores:
        """[B, factors] the users' vectors, solved from their own items."""
        if self.factors is None or self._gram is None:
            raise NotFittedError("als: call fit or load first")
        weight = self.config.alpha * np.log1p(batch.own_decayed)
        weight = weight.astype(np.float32)
        out = np.zeros((len(batch), self.factors.shape[1]), dtype=np.float32)
        for row, (start, stop) in enumerate(pairwise(batch.own_bounds.tolist())):
            if start == stop:
                continue
            own = self.factors[batch.own_item[start:stop]]  # [n own, factors]
            confidence = weight[start:stop]
            # As implicit does: the matrix' value is the confidence above zero preference, preference itself is 1.
            left = self._gram + own.T @ (own * np.maximum(confidence - 1.0, 0.0)[:, None])
            out[row] = np.linalg.solve(left, own.T @ np.maximum(confidence, 1.0))
        return out

    def ask(self, batch: StateBatch) -> ByVector:
        """The users' vectors."""
        users = self.users(batch)
        assert self._index is not None
        return ByVector(users, np.asarray(users.any(axis=1)), self._index)

    @property
    def is_whole(self) -> bool:
        return self._index is None or self._index.is_whole

    def save(self, folder: Path) -> None:
        """Writes the item factors and their index."""
        if self.factors is None or self._index is None:
            raise NotFittedError("als: nothing to save before fit")
        np.save(folder / _FACTORS, self.factors)
        self._index.save(folder / _INDEX)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(AlsConfig(**json.loads((folder / _CONFIG).read_text())))
        source._set(np.asarray(np.load(folder / _FACTORS, mmap_mode="r")), VectorIndex.load(folder / _INDEX))
        return source

    def _set(self, factors: Scores, index: VectorIndex | None = None) -> None:
        self.factors = factors
        ridge = self.config.regularization * np.eye(factors.shape[1], dtype=np.float32)
        self._gram = factors.T @ factors + ridge
        unseen = np.where(factors.any(axis=1), np.float32(0.0), NOTHING)
        self._index = index or VectorIndex.build(factors, unseen)
