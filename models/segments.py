"""A ranking's figures for parts of the users and of the items: whom it serves, and which items it finds.

Groups by taste and the popularity lift (ΔGAP there) follow Abdollahpouri et al. (2019), "The Unfairness of Popularity
Bias in Recommendation".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.batch import Array
from models.metrics import Interval, interval, resampled_rows
from models.places import Places
from models.split import Holdout
from models.state import Floats
from models.trial import Catalogue, Figures

K: Final = 10
"""Length of the lists that count"""
LIFT: Final = f"popularity_lift@{K}"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentConfig:
    """Where parts begin and end."""

    few_events: int = 5
    """Users who have fewer when they are asked are new."""
    many_events: int = 20
    """Users who have more are heavy; those between are regular."""
    edge: float = 0.2
    """Part of the users whose taste is niche, and as large a part whose taste is blockbuster."""
    most: float = 0.8
    """Items that have so much of all events, the most popular ones first, are head or torso; the others are tail."""


@dataclass(frozen=True)
class Segments:
    """The parts of a holdout, the same for every model; those that nobody and nothing is in are left out."""

    users: Mapping[str, Mask]
    """Name -> [U]"""
    items: Mapping[str, Mask]
    """Name -> [R] of the right items"""
    cuts: Mapping[str, str]
    """Name -> how many are in it, and which"""
    profile: Floats
    """[U] share of popular items in what each user had, NaN for those who had nothing"""
    own_share: Floats
    """[U] mean popularity of the items that each user had, likewise"""
    share: Floats
    """[n_items] popularity: of all events"""

    @classmethod
    def of(cls, holdout: Holdout, catalogue: Catalogue, config: SegmentConfig = SegmentConfig()) -> Segments:
        """The parts, by what is known when the users are asked."""
        asked, users = holdout.asked, holdout.users
        events = np.searchsorted(asked.user, users, side="right") - np.searchsorted(asked.user, users)
        few, many = config.few_events, config.many_events
        taken = asked.taken()[users]  # each item once, however often a user had it
        count = np.diff(taken.indptr)
        had = np.maximum(count, 1)
        profile, own = (np.where(count > 0, taken @ of / had, np.nan) for of in (1.0 * catalogue.head, catalogue.share))
        low, high = _edges(profile, config.edge)
        head, most = catalogue.head[holdout.truth_item], catalogue.busiest(config.most)[holdout.truth_item]
        by_user = {
            "new users": (events < few, f"fewer than {few} events before they are asked"),
            "regular users": ((events >= few) & (events <= many), f"{few} to {many} events"),
            "heavy users": (events > many, f"more than {many} events"),
            "niche taste": (profile <= low, f"at most {low:.0%} of their items are head"),
            "diverse taste": ((profile > low) & (profile < high), "between the two"),
            "blockbuster taste": ((profile > low) & (profile >= high), f"at least {high:.0%} of their items are head"),
        }
        by_item = {
            "head items": (head, "the most popular ones, with half of all events"),
            "torso items": (most & ~head, f"the next ones, up to {config.most:.0%} of all events"),
            "tail items": (~most, "all others"),
        }
        cuts = {name: f"{mask.sum()}: {what}" for name, (mask, what) in {**by_user, **by_item}.items() if mask.any()}
        users_in, items_in = (
            {name: mask for name, (mask, _) in parts.items() if name in cuts} for parts in (by_user, by_item)
        )
        return cls(users_in, items_in, cuts, profile, own, catalogue.share)

    def figures(self, places: Places, resamples: int, seed: int) -> dict[str, Figures]:
        """NDCG, hit rate and recall in each part, and the lift of each part of the users, with 95 % intervals.

        For a part of the items only they count as right, and only users who have one of them.
        """
        found = {}
        for name, mask in self.users.items():
            part = places.of_right(mask[places.row])
            found[name] = _figures(part, resampled_rows(part.users, resamples, seed))
            shown = part.top[:, :K]
            known = (shown > 0).any(axis=1) & np.isfinite(self.own_share[mask])
            if known.any():
                rows = resampled_rows(int(known.sum()), resamples, seed)
                found[name][LIFT] = _lift(shown[known], self.share, self.own_share[mask][known], rows)
        for name, mask in self.items.items():
            part = places.of_right(mask)
            found[name] = _figures(part, resampled_rows(part.users, resamples, seed))
        return found


def _edges(profile: Floats, edge: float) -> tuple[float, float]:
    known = profile[np.isfinite(profile)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [edge, 1.0 - edge])
    return float(low), float(high)


def _figures(places: Places, rows: npt.NDArray[np.intp]) -> Figures:
    values = {"ndcg": places.ndcg(K), "hr": places.hit_rate(K), "recall": places.recall(K)}
    return {f"{name}@{K}": interval(each, rows) for name, each in values.items()}


def _lift(top: Array, share: Floats, own: Floats, rows: npt.NDArray[np.intp]) -> Interval:
    """Mean popularity of what users are shown over that of what they had, less 1: 0 is as they choose themselves.

    Args:
        top: [U, K] what is shown, 0 where there is nothing.
        share: [n_items]
        own: [U]
        rows: [resamples, U]
    """
    shown = top > 0
    given = (share[top] * shown).sum(axis=1) / shown.sum(axis=1)
    low, high = np.quantile([given[draw].sum() / own[draw].sum() - 1.0 for draw in rows], [0.025, 0.975])
    return Interval(float(given.sum() / own.sum() - 1.0), float(low), float(high))
