"""MovieLens-1M, leave-one-out, full ranking."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.models.contest import Contest, figure_of, held
from benchmarks.models.public import movielens
from models.sources.als import Als, AlsConfig
from models.sources.encoder import SequenceConfig
from models.sources.linear import Linear, LinearConfig
from models.sources.neighbours import Neighbours, NeighboursConfig
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.sequence import Sequence
from models.sources.user_neighbours import UserNeighbours
from models.split import leave_last_out

LENGTH: Final = 200
PUBLISHED: Final = {
    "BERT4Rec (Klenitskiy and Vasilev, 2023)": {"hr@10": 0.2843, "ndcg@10": 0.1537},
    "SASRec (Klenitskiy and Vasilev, 2023)": {"hr@10": 0.2500, "ndcg@10": 0.1341},
    "gSASRec (Petrov and Macdonald, 2023)": {"hr@10": 0.3003, "ndcg@10": 0.1726},
    "SASRec+ (Klenitskiy and Vasilev, 2023)": {"hr@10": 0.3152, "ndcg@10": 0.1821},
    "SASRec+, 3,000 negatives (Klenitskiy and Vasilev, 2023)": {"hr@10": 0.3159, "ndcg@10": 0.1857},
}
TARGETS: Final = {"hr@10": 0.320, "ndcg@10": 0.188}
ENCODER: Final = SequenceConfig(
    dim=64, layers=2, heads=2, dropout=0.2, length=LENGTH, horizon_events=1, repeat_weight=1.0, targets=LENGTH,
    negatives=0, batch_size=64, epochs=40, learning_rate=2e-3, warm_start=False,
)  # fmt: skip
CONTEST: Final = Contest(
    models={
        "popularity": lambda: Popularity(PopularityConfig(half_life_days=1e6)),
        "item neighbours": lambda: Neighbours(NeighboursConfig(neighbours=100)),
        "user neighbours": UserNeighbours,
        "als": lambda: Als(AlsConfig(factors=64)),
        "linear": lambda: Linear(LinearConfig(regularization=300.0)),
        "sequence": lambda: Sequence(ENCODER),
    },
    collaborative="linear",
    deep="sequence",
    ks=(10, 20),
    length=LENGTH,
)


def measure() -> dict[str, Any]:
    """The figure."""
    test = leave_last_out(movielens(), least=3)
    return figure_of(held(CONTEST, leave_last_out(test.learned), test), TARGETS, PUBLISHED)
