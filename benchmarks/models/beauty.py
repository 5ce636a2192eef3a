"""Amazon Beauty, leave-one-out, full ranking."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.models.contest import Contest, figure_of, held
from benchmarks.models.public import beauty
from models.sources.als import Als, AlsConfig
from models.sources.encoder import SequenceConfig
from models.sources.linear import Linear, LinearConfig
from models.sources.neighbours import Neighbours, NeighboursConfig
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.sequence import Sequence
from models.sources.user_neighbours import UserNeighbours, UserNeighboursConfig
from models.split import leave_last_out

LENGTH: Final = 50
PUBLISHED: Final = {
    "SASRec (Zhou et al., 2020)": {"hr@10": 0.0605, "ndcg@10": 0.0318},
    "S3-Rec (Zhou et al., 2020)": {"hr@10": 0.0647, "ndcg@10": 0.0327},
    "SASRec, sampled softmax (eSASRec, 2025)": {"hr@10": 0.0921, "ndcg@10": 0.0531},
    "eSASRec (2025)": {"hr@10": 0.0928, "ndcg@10": 0.0523},
}
ENCODER: Final = SequenceConfig(
    dim=128, layers=2, heads=2, dropout=0.3, length=LENGTH, horizon_events=1, repeat_weight=1.0, targets=LENGTH,
    negatives=0, batch_size=128, epochs=24, learning_rate=1e-3, warm_start=False,
)  # fmt: skip
CONTEST: Final = Contest(
    models={
        "popularity": lambda: Popularity(PopularityConfig(half_life_days=1e6)),
        "item neighbours": lambda: Neighbours(NeighboursConfig(neighbours=300)),
        "user neighbours": lambda: UserNeighbours(UserNeighboursConfig()),
        "als": lambda: Als(AlsConfig(factors=128)),
        "linear": lambda: Linear(LinearConfig(regularization=100.0)),
        "sequence": lambda: Sequence(ENCODER),
    },
    collaborative="linear",
    deep="sequence",
    ks=(10, 20),
    length=LENGTH,
    refit=True,
)
TARGETS: Final = {"hr@10": 0.096, "ndcg@10": 0.055}


def measure() -> dict[str, Any]:
    """The figure."""
    test = leave_last_out(beauty(), least=3)
    return figure_of(held(CONTEST, leave_last_out(test.learned), test), TARGETS, PUBLISHED)
