"""The strong rival of the deep ranker: gradient-boosted trees (Friedman, 2001) over the same candidates and features.

LightGBM on the log-odds of each candidate, stopped by the NDCG of its lists. The items' categoricals stand beside the
features as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from models.batch import Ints

if TYPE_CHECKING:  # loaded where trees are fitted or asked, so not by a service whose model they do not order
    import lightgbm

Table = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BoostedConfig:
    """The trees."""

    trees: int = 500
    """At most; early stopping may end it before."""
    patience: int = 40
    """Trees without a better validation NDCG@10 before stopping."""
    leaves: int = 31
    learning_rate: float = 0.05
    least_in_leaf: int = 200
    """Candidates."""
    feature_share: float = 0.5
    """Of the features, drawn anew for each tree."""
    row_share: float = 0.7
    """Of the candidates, likewise."""
    l2: float = 5.0
    least_gain: float = 0.03
    """They have a say in the served order only if that is so much better, relatively, for users held out: asking them
    takes a request's time."""
    threads: int = 0
    """0: all cores"""
    seed: int = 7


@dataclass(frozen=True)
class RankedRows:
    """Candidate lists laid out one after the other."""

    features: Table
    """[N, F + K]"""
    labels: npt.NDArray[np.int8]
    """[N]"""
    sizes: Ints
    """[lists] ascending parts of N"""


class Boosted:
    """Trees; the score is the log-odds that the candidate is taken, had the lists of the training been its world."""

    def __init__(self, text: str) -> None:
        """
        Args:
            text: the trees as LightGBM writes them.
        """
        self._text = text

    @classmethod
    def fit(cls, training: RankedRows, validation: RankedRows, config: BoostedConfig = BoostedConfig()) -> Self:
        """Fits, with as many trees as are best on the validation."""
        import lightgbm

        learned = lightgbm.Dataset(training.features, training.labels, group=training.sizes)
        judged = lightgbm.Dataset(validation.features, validation.labels, group=validation.sizes, reference=learned)
        booster = lightgbm.train(
            _parameters(config), learned, config.trees, valid_sets=[judged],
            callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
        )  # fmt: skip
        return cls(booster.model_to_string())  # of the best iteration

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        import lightgbm

        return lightgbm.Booster(model_str=self._text)

    @property
    def trees(self) -> int:
        """How many there are."""
        return int(self._booster.num_trees())

    def score(self, features: npt.NDArray[np.floating], codes: Ints) -> Table:
        """[B, C] of candidates with features [B, C, F] and the items' codes [B, C, K]."""
        rows = rows_of(features, codes)
        # One thread: the service answers several requests side by side.
        flat = self._booster.predict(rows.reshape(-1, rows.shape[-1]), raw_score=True, num_threads=1)
        return np.asarray(flat, dtype=np.float32).reshape(rows.shape[:-1])

    def save(self, file: Path) -> None:
        """Writes the trees as text."""
        file.write_text(self._text, encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Self:
        """Reads what `save` wrote."""
        return cls(file.read_text(encoding="utf-8"))


def rows_of(features: npt.NDArray[np.floating], codes: Ints) -> Table:
    """[..., F + K] what the trees read of candidates [...]."""
    return np.concatenate([features, codes], axis=-1, dtype=np.float32)


def _parameters(config: BoostedConfig) -> dict[str, Any]:
    return {
        "objective": "binary", "metric": "ndcg", "eval_at": [10], "verbose": -1, "deterministic": True,
        "force_row_wise": True, "max_bin": 127,
        "num_leaves": config.leaves, "learning_rate": config.learning_rate, "min_data_in_leaf": config.least_in_leaf,
        "feature_fraction": config.feature_share, "bagging_fraction": config.row_share, "bagging_freq": 1,
        "lambda_l2": config.l2,
        "num_threads": config.threads, "seed": config.seed,
    }  # fmt: skip
