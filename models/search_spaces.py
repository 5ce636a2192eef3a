"""What may be chosen about each entrant when it is tuned: field of its configuration -> the values to look among.

Left out are seeds, threads, and what only bounds memory. A default always lies within its range: it is the first trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Space = Mapping[str, BaseDistribution]


def _log(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)


def _count(low: int, high: int) -> IntDistribution:
    return IntDistribution(low, high, log=True)


_HALF_LIFE_DAYS: Final = _log(3.0, 3_000.0)
_SEQUENCE: Final[Space] = {
    "dim": CategoricalDistribution((32, 64, 128)),
    "layers": IntDistribution(1, 3),
    "dropout": FloatDistribution(0.0, 0.5),
    "negatives": CategoricalDistribution((256, 768, 2048)),
    "batch_size": CategoricalDistribution((64, 128, 256)),
    "epochs": _count(3, 40),
    "learning_rate": _log(3e-4, 1e-2),
    "warm_start": CategoricalDistribution((True, False)),
}
SPACES: Final[Mapping[str, Space]] = {
    "popularity": {"half_life_days": _HALF_LIFE_DAYS},
    "own": {"column": CategoricalDistribution(("own_decayed", "own_decayed_fast", "own_decayed_slow"))},
    "recent": {},
    "neighbours": {
        "neighbours": _count(10, 500),
        "weighting": CategoricalDistribution(("cosine", "pearson", "tfidf", "bm25")),
        "fit_half_life_days": _HALF_LIFE_DAYS,
        "own": _count(10, 400),
    },
    "user_neighbours": {
        "neighbours": _count(20, 2_000),
        "weighting": CategoricalDistribution(("cosine", "tfidf")),
        "fit_half_life_days": _HALF_LIFE_DAYS,
    },
    "als": {
        "factors": _count(16, 256),
        "regularization": _log(0.01, 100.0),
        "alpha": _log(0.05, 50.0),
        "iterations": _count(5, 30),
        "half_life_days": _HALF_LIFE_DAYS,
    },
    "bpr": {
        "factors": _count(16, 256),
        "learning_rate": _log(0.005, 0.3),
        "regularization": _log(1e-4, 0.3),
        "iterations": _count(30, 400),
        "fold_ridge": _log(0.01, 1_000.0),
    },
    "linear": {"regularization": _log(1.0, 5_000.0), "popularity_power": FloatDistribution(0.0, 1.0)},
    "graph_filter": {
        "factors": _count(16, 512),
        "low_pass": FloatDistribution(0.0, 1.0),
        "spectrum_power": FloatDistribution(0.0, 1.0),
        "user_power": FloatDistribution(0.0, 1.0),
        "item_power": FloatDistribution(0.0, 1.0),
        "sharpen": FloatDistribution(0.0, 2.5),
    },
    "sequence": _SEQUENCE,
    "gru": _SEQUENCE,
    "mult_vae": {
        "hidden": _count(100, 600),
        "latent": _count(32, 256),
        "dropout": FloatDistribution(0.0, 0.8),
        "divergence": _log(0.01, 1.0),
        "epochs": _count(10, 100),
        "learning_rate": _log(3e-4, 1e-2),
    },
    "light_gcn": {
        "dim": CategoricalDistribution((32, 64, 128)),
        "layers": IntDistribution(1, 4),
        "negatives": CategoricalDistribution((256, 1024, 4096)),
        "temperature": _log(0.05, 0.5),
        "decay": _log(1e-8, 1e-3),
        "epochs": _count(5, 40),
        "learning_rate": _log(1e-3, 2e-2),
    },
    "two_tower": {
        "dim": CategoricalDistribution((32, 64, 128)),
        "own": _count(10, 400),
        "recent": _count(1, 30),
        "id_dropout": FloatDistribution(0.0, 0.8),
        "temperature": _log(0.03, 0.5),
        "negatives": CategoricalDistribution((256, 1024, 4096)),
        "epochs": _count(3, 40),
        "learning_rate": _log(5e-4, 2e-2),
        "weight_decay": _log(1e-4, 1.0),
    },
}
"""Entrant -> its space; empty where there is nothing to choose"""
