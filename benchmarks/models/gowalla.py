"""Gowalla as LightGCN's authors split it, full ranking of what was not in training."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.models.contest import Contest, figure_of, held
from benchmarks.models.public import gowalla
from models.interactions import Interactions
from models.sources.als import Als, AlsConfig
from models.sources.graph_filter import GraphFilter, GraphFilterConfig
from models.sources.neighbours import Neighbours, NeighboursConfig
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.user_neighbours import UserNeighbours, UserNeighboursConfig
from models.split import Holdout, against

LENGTH: Final = 50
VALIDATION_SHARE: Final = 0.1
VALIDATION_USERS: Final = 5_000
SEED: Final = 7
PUBLISHED: Final = {
    "LightGCN (BARS)": {"recall@20": 0.1820, "ndcg@20": 0.1547},
    "GF-CF (BARS)": {"recall@20": 0.1849, "ndcg@20": 0.1518},
    "UltraGCN (BARS)": {"recall@20": 0.1862, "ndcg@20": 0.1580},
    "BSPM (Choi et al., 2023)": {"recall@20": 0.1920, "ndcg@20": 0.1597},
    "SimpleX (BARS)": {"recall@20": 0.1872, "ndcg@20": 0.1557},
}
SHARPENED: Final = "graph filter, sharpened"
TARGETS: Final = {"recall@20": 0.190, "ndcg@20": 0.160}
CONTEST: Final = Contest(
    models={
        "popularity": lambda: Popularity(PopularityConfig(half_life_days=1e6)),
        "item neighbours": lambda: Neighbours(NeighboursConfig(neighbours=200)),
        "user neighbours": lambda: UserNeighbours(UserNeighboursConfig(neighbours=200)),
        "als": lambda: Als(AlsConfig(factors=256, alpha=1.0)),
        "GF-CF": lambda: GraphFilter(GraphFilterConfig()),
        SHARPENED: lambda: GraphFilter(GraphFilterConfig(factors=448, low_pass=0.15, sharpen=2.0)),
    },
    collaborative="user neighbours",
    deep=SHARPENED,
    ks=(20,),
    length=LENGTH,
    refit=True,
)


def measure() -> dict[str, Any]:
    """The figure."""
    training, test = gowalla()
    return figure_of(held(CONTEST, carved(training), against(training, test)), TARGETS, PUBLISHED)


def carved(training: Interactions) -> Holdout:
    """A validation out of the training, as none is published: a tenth of the events, by lot, asked of some users."""
    random = np.random.default_rng(SEED)
    held_back = random.random(len(training)) < VALIDATION_SHARE
    validation = against(training.where(~held_back), training.where(held_back))
    return validation.part(np.sort(random.permutation(len(validation))[:VALIDATION_USERS]))
