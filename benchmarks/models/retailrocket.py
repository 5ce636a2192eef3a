"""RetailRocket: which item that they have not bought yet do users buy next, of all items."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.models.contest import Contest, better_hybrid, held
from benchmarks.models.public import retailrocket
from feature_repo.schema import CART, EVENT_TYPES, PURCHASE, VIEW
from models.interactions import Interactions
from models.sources.als import Als, AlsConfig
from models.sources.encoder import SequenceConfig
from models.sources.neighbours import Neighbours, NeighboursConfig
from models.sources.own import Own, OwnConfig
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.recent import Recent, RecentConfig
from models.sources.sequence import Sequence
from models.sources.user_neighbours import UserNeighbours
from models.split import Holdout, against

LENGTH: Final = 100
BEAT_BY: Final = 1.2
BASELINES: Final = ("popularity", "last carted", "last viewed", "item neighbours", "als")
ENCODER: Final = SequenceConfig(
    dim=64, layers=2, heads=2, dropout=0.3, length=LENGTH, horizon_events=5, repeat_weight=0.3, targets=LENGTH,
    batch_size=64, epochs=15, learning_rate=1e-3,
)  # fmt: skip
CONTEST: Final = Contest(
    models={
        "popularity": lambda: Popularity(PopularityConfig(half_life_days=30.0)),
        "last carted": lambda: Recent(RecentConfig((CART,))),
        "last viewed": lambda: Recent(RecentConfig((VIEW,))),
        "own": lambda: Own(OwnConfig("own_decayed_fast")),
        "item neighbours": lambda: Neighbours(NeighboursConfig()),
        "user neighbours": UserNeighbours,
        "als": lambda: Als(AlsConfig()),
        "sequence": lambda: Sequence(ENCODER),
    },
    collaborative="own",
    deep="sequence",
    ks=(10, 20),
    length=LENGTH,
    hide="bought",
)


def measure() -> dict[str, Any]:
    """The figure: how many times the best baseline's figures the hybrid has that is better on validation."""
    events = retailrocket()
    table = held(CONTEST, last_new_purchase(events, 1), last_new_purchase(events, 0))
    ours = better_hybrid(table)
    ratios = {}
    for metric in ("hr@10", "ndcg@10"):
        value = {name: row["figures"][metric]["value"] for name, row in table.items()}
        best = max(BASELINES, key=lambda name: value[name])
        ratios[metric] = {"best baseline": best, "ours": ours, "times": round(value[ours] / value[best], 3)}
    least = min(ratio["times"] for ratio in ratios.values())
    return {
        "value": least,
        "unit": "times the best baseline",
        "target": BEAT_BY,
        "met": least >= BEAT_BY,
        "detail": {"ratios": ratios, "models": table},
    }


def last_new_purchase(events: Interactions, before: int) -> Holdout:
    """Each user's last purchase of an item not bought before is the answer, or the one `before` places earlier.

    The user is asked just before it, and models learn from what each user did before that question; from users who
    have no such purchase, from what they did before the last one, so that no model knows the test's answer.
    """
    bought = np.flatnonzero(events.kind == EVENT_TYPES.index(PURCHASE) + 1)
    pair = events.user[bought].astype(np.int64) * events.n_items + events.item[bought]
    new = bought[np.unique(pair, return_index=True)[1]]
    new = new[np.lexsort((events.time[new], events.user[new]))]
    user = events.user[new]
    from_end = np.searchsorted(user, user, side="right") - 1 - np.arange(len(new))
    answers = new[from_end == before]
    moment = np.full(len(events.users), np.inf)
    for place in range(before + 1):
        moment[user[from_end == place]] = events.time[new[from_end == place]]
    known = events.where(events.time < moment[events.user])
    found = against(known, events.where(np.isin(np.arange(len(events)), answers)))
    return Holdout(known, known, found.users, moment[found.users], found.truth_row, found.truth_item)
