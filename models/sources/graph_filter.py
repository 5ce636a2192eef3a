"""What a low-pass filter over the graph of users and items makes of a user's items: no training, one decomposition.

GF-CF (Shen et al., 2021) adds an ideal low-pass filter, made of the largest singular vectors, to the linear filter of
who took the same. Damping by other powers than a half, and weighing the singular vectors, follow Peng et al. (2024).
Sharpening takes away what everybody's items have in common, as blurring-sharpening processes do (Choi et al., 2023).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from models.batch import StateBatch
from models.errors import NotFittedError
from models.index import NOTHING
from models.interactions import Interactions
from models.sources.asked import Dense
from models.sources.base import Scores, Source

_CONFIG, _TAKEN, _LOW = "graph_filter.json", "taken.npz", "low_pass.npz"
_RUNGE_KUTTA_ORDER: Final = 4


@dataclass(frozen=True)
class GraphFilterConfig:
    """The two filters."""

    factors: int = 256
    """Singular vectors of the low-pass filter."""
    low_pass: float = 0.3
    """Its weight beside the linear filter's."""
    spectrum_power: float = 0.0
    """A singular vector counts by its value, relative to the largest, to this power; 0 is the ideal filter."""
    user_power: float = 0.5
    """In the linear filter, a user's part is divided by the number of their items to this power, twice."""
    item_power: float = 0.5
    """The same of an item's users: once on the way in, once on the way out."""
    sharpen: float = 0.0
    """For how long what both filters let through is sharpened; 0: not at all, and much cheaper to ask. Up to 2.7,
    as one step amplifies beyond that, and less where a power below a half makes the filter's values larger than 1."""
    seed: int = 7


class GraphFilter(Source):
    """Score of an item: what both filters let through of the user's items."""

    name: ClassVar[str] = "graph_filter"

    def __init__(self, config: GraphFilterConfig = GraphFilterConfig()) -> None:
        self.config = config
        self._taken: sparse.csr_matrix | None = None
        """[users, n_items] who took what, damped: the linear filter is this matrix there and back"""
        self._by_item: sparse.csr_matrix | None = None
        """[n_items, users] the same, laid out once and not at each request"""
        self._into: Scores | None = None
        """[n_items, factors] from items to singular vectors"""
        self._out: Scores | None = None
        """[factors, n_items] and back"""

    def fit(self, events: Interactions, now: float) -> Self:
        """Decomposes the matrix of who took what."""
        config = self.config
        taken = events.taken().astype(np.float64)
        of_user, of_item = (np.asarray(taken.sum(axis=axis)).ravel() for axis in (1, 0))
        self._set(_damped(taken, of_user, config.user_power, of_item, config.item_power))
        factors = min(config.factors, min(taken.shape) - 1)
        if factors < 1:  # one user: nothing to decompose
            self._into, self._out = (np.zeros(shape, np.float32) for shape in ((len(of_item), 1), (1, len(of_item))))
            return self
        _, values, vectors = svds(_damped(taken, of_user, 0.5, of_item, 0.5), factors, random_state=config.seed)
        weight = (values / values.max()) ** config.spectrum_power
        damping = _power(of_item, -0.5)
        self._into = (vectors.T * damping[:, None] * weight).astype(np.float32)
        self._out = (vectors * _power(of_item, 0.5)).astype(np.float32)
        return self

    def _set(self, taken: sparse.csr_matrix) -> None:
        self._taken, self._by_item = taken, taken.T.tocsr()

    def ask(self, batch: StateBatch) -> Dense:
        """The users' items through both filters."""
        if self._by_item is None or self._into is None or self._out is None:
            raise NotFittedError("graph_filter: call fit or load first")
        own = batch.own_matrix(len(self._into))
        linear = (own @ self._by_item @ self._taken).toarray()
        scores = self._sharpened(linear + self.config.low_pass * ((own @ self._into) @ self._out))
        scores[np.diff(batch.own_bounds) == 0] = NOTHING
        scores[:, np.diff(self._by_item.indptr) == 0] = NOTHING
        return Dense(np.asarray(scores, dtype=np.float32))

    def _sharpened(self, scores: Scores) -> Scores:
        """[B, n_items] after dx/dt = -(linear filter of x), in one step of the classical Runge-Kutta method.

        For a linear equation that step is the first terms of the exponential's series.
        """
        if not self.config.sharpen:
            return scores
        assert self._by_item is not None
        assert self._taken is not None
        change = total = np.ascontiguousarray(scores.T)
        for order in range(1, _RUNGE_KUTTA_ORDER + 1):
            change = (-self.config.sharpen / order) * (self._by_item @ (self._taken @ change))
            total = total + change
        return total.T

    def save(self, folder: Path) -> None:
        """Writes the matrices."""
        if self._taken is None or self._into is None or self._out is None:
            raise NotFittedError("graph_filter: nothing to save before fit")
        sparse.save_npz(folder / _TAKEN, self._taken, compressed=False)
        np.savez(folder / _LOW, into=self._into, out=self._out)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(GraphFilterConfig(**json.loads((folder / _CONFIG).read_text())))
        source._set(sparse.csr_matrix(sparse.load_npz(folder / _TAKEN)))
        with np.load(folder / _LOW, allow_pickle=False) as low:
            source._into, source._out = low["into"], low["out"]
        return source


def _damped(
    taken: sparse.csr_matrix, of_user: Scores, user_power: float, of_item: Scores, item_power: float
) -> sparse.csr_matrix:
    damped = sparse.diags(_power(of_user, -user_power)) @ taken @ sparse.diags(_power(of_item, -item_power))
    return damped.tocsr().astype(np.float32)


def _power(counts: Scores, power: float) -> Scores:
    """counts ** power, 0 where there is nothing to count."""
    return np.where(counts > 0, np.maximum(counts, 1.0) ** power, 0.0)
