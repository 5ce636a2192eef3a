"""The hybrid of several sources' scores over all items: the classic weighing of two, and a learned weighing of all.

What the served ranker does over a few hundred candidates with features beside, this does where there is nothing but
who took what: a sum of standardised scores, whose weights are fitted on what was held back for validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np

from models.batch import Ints, StateBatch
from models.errors import EmptyTrainingDataError
from models.places import Hide, hidden, in_parts, ndcg_of, places_of
from models.sources.base import Scores, Source
from models.split import Holdout

ALPHAS: Final = tuple(round(0.05 * step, 2) for step in range(21))
_ROUNDS: Final = 30
"""Of ensemble selection; a weight is a multiple of one divided by as many."""
_SEED: Final = 7
_BYTES: Final = 3e9
"""Of the scores that weights are fitted on."""
_LEAST: Final = 64
_EQUAL: Final = 1e-6
"""Scores that deviate by less of their mean are equal."""
_NEVER: Final = np.float32(-1e3)
"""Standing of what may not come."""


def standardised(scores: Scores) -> Scores:
    """[B, n_items] each user's scores on one scale; what is not proposed stands a deviation below the worst that is.

    The distance from the user's mean in standard deviations, its size damped by a logarithm: the best few of a source
    that scores few items stand far out, and so does the only one.
    """
    finite = np.isfinite(scores)
    scores = scores.astype(np.float64)  # rounding must not make a deviation of equal scores
    count = np.maximum(finite.sum(axis=1, keepdims=True), 1)
    mean = np.where(finite, scores, 0.0).sum(axis=1, keepdims=True) / count
    deviation = np.sqrt((np.where(finite, scores - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    worst = np.where(finite, scores, np.inf).min(axis=1, keepdims=True)
    below = np.where(np.isfinite(worst), worst - np.where(deviation > _EQUAL * np.abs(mean), deviation, 1.0), 0.0)
    filled = np.where(finite, scores, below)
    spread = np.maximum(filled.std(axis=1, keepdims=True), 1e-9)
    distance = (filled - filled.mean(axis=1, keepdims=True)) / spread
    return np.asarray(np.sign(distance) * np.log1p(np.abs(distance)), dtype=np.float32)


@dataclass(frozen=True)
class Blend:
    """A weighted sum of sources."""

    sources: Mapping[str, Source]
    weights: Mapping[str, float]

    def scores(self, batch: StateBatch) -> Scores:
        """[B, n_items]"""
        parts = (np.float32(w) * standardised(self.sources[name].scores(batch)) for name, w in self.weights.items())
        return reduce(np.add, parts)


def classic(
    sources: Mapping[str, Source],
    collaborative: str,
    deep: str,
    validation: Holdout,
    k: int,
    length: int,
    *,
    hide: Hide = "seen",
) -> Blend:
    """α · collaborative + (1 − α) · deep, with the α of `ALPHAS` that has the best NDCG@k on validation."""

    def gain(scores: Scores, part: Holdout) -> float:
        return float(places_of(lambda _: scores, part, hide=hide, length=length).ndcg(k).sum())

    quality = np.zeros(len(ALPHAS))
    for _, part, batch in in_parts(validation, length):
        left, right = (standardised(sources[name].scores(batch)) for name in (collaborative, deep))
        for n, alpha in enumerate(ALPHAS):
            quality[n] += gain(np.float32(alpha) * left + np.float32(1.0 - alpha) * right, part)
    alpha = ALPHAS[int(quality.argmax())]
    return Blend(sources, {collaborative: alpha, deep: 1.0 - alpha})


def learned(
    sources: Mapping[str, Source],
    validation: Holdout,
    k: int,
    length: int,
    *,
    hide: Hide = "seen",
    users: int = 5_000,
) -> Blend:
    """All sources, with weights found by ensemble selection (Caruana et al., 2004): the source that helps most is added
    again and again, and the sum with the best NDCG@k on validation is kept.

    Args:
        users: so many, drawn by lot, are enough for a few weights; fewer where their scores would not fit into memory.

    Raises:
        EmptyTrainingDataError: no answer of the validation may come.
    """
    names = list(sources)
    users = min(users, max(int(_BYTES / (4 * len(names) * validation.learned.n_items)), _LEAST))
    if len(validation) > users:
        rows = np.random.default_rng(_SEED).permutation(len(validation))[:users]
        validation = validation.part(np.sort(rows))
    parts = list(_standing(sources, validation, length, hide))
    if not parts:
        raise EmptyTrainingDataError("no answer of the validation may come, so the hybrid's weights cannot be fitted")
    counts = np.zeros(len(names))
    best_counts, best = counts, 0.0
    for _ in range(_ROUNDS):
        gains = [sum(part.gain_with(n, k) for part in parts) for n in range(len(names))]
        added = int(np.argmax(gains))
        counts[added] += 1.0
        for part in parts:
            part.add(added)
        if gains[added] > best:
            best_counts, best = counts.copy(), gains[added]
    weights = best_counts / max(best_counts.sum(), 1.0)
    return Blend(sources, {name: float(w) for name, w in zip(names, weights, strict=True) if w})


class _Part:
    """Some users' standing with every source, and with the sum of those that were added."""

    def __init__(self, standing: Scores, row: Ints, item: Ints) -> None:
        self.standing = standing
        """[S, b, n_items]"""
        self.total = np.zeros_like(standing[0])
        self.row, self.item = row, item
        """[R] what is wanted by whom; everybody wants something"""

    def gain_with(self, source: int, k: int) -> float:
        """The users' NDCG@k, summed, if a source was added."""
        scores = self.total + self.standing[source]
        place = np.array([_place(scores[row], item) for row, item in zip(self.row, self.item, strict=True)])
        return float(ndcg_of(self.row, place, len(scores), k).sum())

    def add(self, source: int) -> None:
        """The sum has the source once more."""
        self.total += self.standing[source]


def _place(scores: Scores, item: int) -> int:
    """How many of the scores [n_items] come before an item's; equal ones do by the smaller id, as in service."""
    value = scores[item]
    return int(np.count_nonzero(scores > value) + np.count_nonzero(scores[:item] == value))


def _standing(sources: Mapping[str, Source], validation: Holdout, length: int, hide: Hide) -> Iterator[_Part]:
    for _, part, batch in in_parts(validation, length):
        stacked = np.stack([standardised(source.scores(batch)) for source in sources.values()])
        stacked[:, :, 0] = _NEVER
        out = hidden(batch, hide)
        stacked[:, *out] = _NEVER
        # What may not come cannot be wanted: no weights bring it up.
        wanted = stacked[0, part.truth_row, part.truth_item] > _NEVER
        if wanted.any():
            asking, row = np.unique(part.truth_row[wanted], return_inverse=True)
            yield _Part(stacked[:, asking], row.astype(np.int32), part.truth_item[wanted])
