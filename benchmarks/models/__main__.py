"""What the models reach on public sets, each in a process of its own; writes reports/models.json.

    make bench-models                            all of them, hours on two cores
    python -m benchmarks.models beauty gowalla   some of them; `kairos benchmark NAME` is one

The sets are read from the folder that KAIROS_DATASETS names; docs/benchmarks.md says where to get them.
"""

from __future__ import annotations

from typing import Final

from benchmarks.figures import measure_figures

FIGURES: Final = {
    "beauty": "benchmarks.models.beauty:measure",
    "ml1m": "benchmarks.models.movielens:measure",
    "gowalla": "benchmarks.models.gowalla:measure",
    "retailrocket": "benchmarks.models.retailrocket:measure",
    "frappe": "benchmarks.models.frappe:measure",
    "cold": "benchmarks.models.cold:measure",
    "topk_speed": "benchmarks.models.top_k:measure",
    "train_speed": "benchmarks.models.train_speed:measure",
    "rerank": "benchmarks.models.reranking:measure",
}
"""Figure -> what measures it"""
LIBRARIES: Final = ("torch", "lightning", "implicit", "lightgbm", "scikit-learn", "pyversity", "numpy", "scipy")

if __name__ == "__main__":
    measure_figures(__doc__, "benchmarks.models", FIGURES, "models.json", LIBRARIES)
