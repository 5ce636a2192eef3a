"""Ranking metrics, per user, and their bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Values = npt.NDArray[np.float64]


def hits(ranked: Sequence[str], relevant: Collection[str], k: int) -> Values:
    """[k] 1.0 where the ranked item is relevant, 0.0 elsewhere and beyond the list's end."""
    out = np.zeros(k)
    for position, item in enumerate(ranked[:k]):
        out[position] = item in relevant
    return out


def ndcg(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Discounted gain at k over the ideal for min(k, number of relevant items); 0 without relevant items."""
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = discount[: min(k, len(relevant))].sum()
    return float((hits(ranked, relevant, k) * discount).sum() / ideal) if ideal else 0.0


def hit_rate(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1 if any of the first k is relevant."""
    return float(hits(ranked, relevant, k).any())


def recall(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Share of the relevant items among the first k."""
    return float(hits(ranked, relevant, k).sum() / len(relevant)) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1 / position of the first relevant item among the first k, 0 if there is none."""
    found = np.flatnonzero(hits(ranked, relevant, k))
    return float(1.0 / (found[0] + 1)) if len(found) else 0.0


def novelty(ranked: Sequence[str], share: Mapping[str, float], k: int, rarest: float) -> float:
    """Mean of -log2 of the items' popularity share over the first k; 0 for an empty list.

    Args:
        ranked: the answer.
        share: item -> its share of all events.
        k: how many count.
        rarest: the share of an item that has none.
    """
    values = [-np.log2(share.get(item, rarest)) for item in ranked[:k]]
    return float(np.mean(values)) if values else 0.0


def auc(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.floating]) -> float:
    """The chance that a row labelled 1 scores above one labelled 0, ties in halves; there must be both."""
    ones = labels == 1
    count = int(ones.sum())
    above = rankdata(scores)[ones].sum() - count * (count + 1) / 2
    return float(above / (count * (len(labels) - count)))


def coverage(ranked: Sequence[Sequence[str]], catalogue: int, k: int) -> float:
    """Share of the catalogue that appears in anybody's first k."""
    return len({item for answer in ranked for item in answer[:k]}) / max(catalogue, 1)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The form of the reports."""
        return {"value": self.value, "low": self.low, "high": self.high}


def resampled_rows(count: int, resamples: int, seed: int) -> npt.NDArray[np.intp]:
    """[resamples, count] users drawn with replacement; the same draw serves every metric and model."""
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def interval(values: Values, rows: npt.NDArray[np.intp]) -> Interval:
    """Mean of per-user values [U] with the 2.5 % and 97.5 % quantiles of the means over resampled rows [R, U]."""
    if not len(values):
        return Interval(0.0, 0.0, 0.0)
    means = np.array([values[draw].mean() for draw in rows])
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def coverage_interval(ranked: Sequence[Sequence[str]], catalogue: int, k: int, rows: npt.NDArray[np.intp]) -> Interval:
    """Coverage with quantiles over resampled users; a resample has fewer different users, so `low` is conservative."""
    if not ranked:
        return Interval(0.0, 0.0, 0.0)
    numbers: dict[str, int] = {}
    shown = np.full((len(ranked), k), -1)
    for row, answer in enumerate(ranked):
        for position, item in enumerate(answer[:k]):
            shown[row, position] = numbers.setdefault(item, len(numbers))
    values = []
    for draw in rows:
        seen = np.zeros(len(numbers) + 1, dtype=bool)
        seen[shown[draw].ravel()] = True  # -1 is the last, which does not count
        values.append(seen[:-1].sum() / max(catalogue, 1))
    low, high = np.quantile(values, [0.025, 0.975])
    value = coverage(ranked, catalogue, k)
    return Interval(value, min(float(low), value), max(float(high), value))
