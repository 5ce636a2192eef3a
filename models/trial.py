"""One model's figures on a holdout: what it ranks well, and what its lists are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.interactions import Interactions
from models.metrics import Interval, interval
from models.places import Places
from models.state import Floats

Figures = dict[str, Interval]


@dataclass(frozen=True)
class Catalogue:
    """What is known of the items without any model: how often each was taken."""

    share: Floats
    """[n_items] of all events, 0 for the unknown item"""

    @classmethod
    def of(cls, events: Interactions) -> Catalogue:
        """From the events that models learn from."""
        counts = np.bincount(events.item, minlength=events.n_items).astype(np.float64)
        counts[0] = 0.0
        return cls(counts / max(counts.sum(), 1.0))

    @property
    def head(self) -> np.ndarray:
        """[n_items] whether an item is of the most popular ones that have half of all events."""
        return self.busiest(0.5)

    def busiest(self, part: float) -> np.ndarray:
        """[n_items] whether an item is of the most popular ones that have a part of all events."""
        order = np.argsort(-self.share, kind="stable")
        before = np.cumsum(self.share[order]) - self.share[order]
        busiest = np.zeros(len(self.share), dtype=bool)
        busiest[order[before < part]] = True
        return busiest & (self.share > 0)


def figures_of(places: Places, catalogue: Catalogue, ks: Sequence[int], rows: np.ndarray) -> Figures:
    """Means over users with 95 % intervals, by the name of the metric.

    Args:
        places: where the right items came, and what came first.
        catalogue: of the events that were learned from.
        ks: lengths of lists that count.
        rows: [resamples, U] users drawn with replacement, see `metrics.resampled_rows`.
    """
    figures: Figures = {}
    rarest = catalogue.share[catalogue.share > 0].min(initial=1.0)
    surprise = -np.log2(np.maximum(catalogue.share, rarest))
    for k in ks:
        top = places.top[:, :k]
        shown = top > 0
        count = np.maximum(shown.sum(axis=1), 1)
        values = {
            "ndcg": places.ndcg(k),
            "hr": places.hit_rate(k),
            "recall": places.recall(k),
            "map": places.average_precision(k),
            "mrr": places.reciprocal_rank(k),
            "novelty": (surprise[top] * shown).sum(axis=1) / count,
            "head_share": (catalogue.head[top] & shown).sum(axis=1) / count,
        }
        figures |= {f"{name}@{k}": interval(each, rows) for name, each in values.items()}
        often = np.bincount(top[shown], minlength=len(catalogue.share))[1:]
        figures[f"coverage@{k}"] = _exactly(float((often > 0).mean()))
        figures[f"gini@{k}"] = _exactly(gini(often))
    figures["auc"] = interval(places.auc(), rows)
    return figures


def gini(often: np.ndarray) -> float:
    """How unequally items [n] are shown: 0 all alike, towards 1 only one of them."""
    often = np.sort(often.astype(np.float64))
    total = often.sum()
    if not total:
        return 0.0
    count = len(often)
    return float((2 * np.arange(1, count + 1) - count - 1) @ often / (count * total))


def _exactly(value: float) -> Interval:
    """Of all lists together; users drawn again would only show fewer items."""
    return Interval(value, value, value)
