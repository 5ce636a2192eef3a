"""The hybrid of several sources' scores over all items: the classic weighing of two, and a learned weighing of all.

What the served ranker does over a few hundred candidates with features beside, this does where there is nothing but
who took what: a sum of standardised scores, whose weights are fitted on what was held back for validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import torch

from models.batch import StateBatch
from models.errors import EmptyTrainingDataError
from models.places import Hide, hidden, in_parts, places_of
from models.sources.base import Scores, Source
from models.split import Holdout

ALPHAS: Final = tuple(round(0.05 * step, 2) for step in range(21))
_STEPS: Final = 60
_RIDGE: Final = 1e-3
"""On the weights, so that of two sources that say the same neither gets a weight without bounds."""
_SEED: Final = 7
_BYTES: Final = 2e9
"""Of the scores that weights are fitted on."""
_LEAST: Final = 64
_NEVER: Final = np.float32(-1e3)
"""Standing of what may not come."""


def standardised(scores: Scores) -> Scores:
    """[B, n_items] each user's scores on one scale; what is not proposed stands with the worst that is.

    The distance from the user's mean in standard deviations, its size damped by a logarithm: the best few of a source
    that scores few items stand far out.
    """
    finite = np.isfinite(scores)
    worst = np.where(finite, scores, np.inf).min(axis=1, keepdims=True)
    filled = np.where(finite, scores, np.where(np.isfinite(worst), worst, 0.0))
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
    sources: Mapping[str, Source], validation: Holdout, length: int, *, hide: Hide = "seen", users: int = 2_000
) -> Blend:
    """All sources, with the weights of the largest likelihood of what was taken, out of all items, on validation.

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
    parts, targets = _standing(sources, validation, length, hide)
    if not parts:
        raise EmptyTrainingDataError("no answer of the validation may come, so the hybrid's weights cannot be fitted")
    weight = torch.full((len(names),), 1.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = _RIDGE * (weight**2).sum()
        for part, (row, item) in zip(parts, targets, strict=True):
            logits = torch.einsum("sbn,s->bn", part, weight)
            loss = loss - torch.log_softmax(logits, 1)[row, item].mean() / len(parts)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Blend(sources, dict(zip(names, weight.detach().tolist(), strict=True)))


def _standing(
    sources: Mapping[str, Source], validation: Holdout, length: int, hide: Hide
) -> tuple[list[torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
    """In parts: [S, b, n_items] standardised scores; rows and items of what is wanted."""
    parts, targets = [], []
    for _, part, batch in in_parts(validation, length):
        stacked = np.stack([standardised(source.scores(batch)) for source in sources.values()])
        stacked[:, :, 0] = _NEVER
        out = hidden(batch, hide)
        stacked[:, *out] = _NEVER
        # What may not come cannot be wanted: no weights make it likely.
        wanted = stacked[0, part.truth_row, part.truth_item] > _NEVER
        if wanted.any():
            parts.append(torch.from_numpy(stacked))
            targets.append((_long(part.truth_row[wanted]), _long(part.truth_item[wanted])))
    return parts, targets


def _long(numbers: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(numbers.astype(np.int64))
