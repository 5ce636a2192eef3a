"""Whether models differ by more than the lot that drew the users: a paired bootstrap over users (Efron and Tibshirani,
1993, chapter 16), with the p-values corrected for the number of comparisons by Holm (1979)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.metrics import Values


@dataclass(frozen=True)
class Difference:
    """One model's mean less the best one's, over the same users, with its 95 % interval."""

    value: float
    low: float
    high: float
    p: float
    """How often chance alone would bring a difference of at least this size"""
    p_holm: float
    """The same, corrected for all comparisons with the best"""


def against_best(values: Mapping[str, Values], rows: npt.NDArray[np.intp]) -> dict[str, Difference]:
    """Every model beside the one with the best mean, which is left out.

    Args:
        values: model -> a metric of each user [U], larger is better.
        rows: [resamples, U] users drawn with replacement, see `metrics.resampled_rows`; with 1,000 of them no p-value
            is below 0.001.
    """
    best = max(values, key=lambda name: values[name].mean())
    paired = {name: each - values[best] for name, each in values.items() if name != best}
    means = {name: float(each.mean()) for name, each in paired.items()}
    drawn = {name: np.array([each[draw].mean() for draw in rows]) for name, each in paired.items()}
    # Moved to a mean of 0 the draws are what chance alone would bring. Rounding must not tell equal ones apart.
    as_far = {name: np.abs(each - means[name]) >= abs(means[name]) - 1e-12 for name, each in drawn.items()}
    p = {name: float((each.sum() + 1) / (len(rows) + 1)) for name, each in as_far.items()}
    corrected = holm(p)
    out = {}
    for name, mean in means.items():
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        out[name] = Difference(mean, float(low), float(high), p[name], corrected[name])
    return out


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Corrected p-values: the smallest times their number, the next times one less, none smaller than one before it."""
    corrected, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda entry: entry[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - place)))
        corrected[name] = largest
    return corrected
