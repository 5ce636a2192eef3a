"""The field ranker's rivals on the same rows: a sum over fields, and boosted trees; both tuned on validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from benchmarks.models.frappe_files import FrappeSplit
from benchmarks.models.row_figures import Logits
from models.metrics import auc

STRENGTHS: Final = (0.3, 1.0, 3.0)
"""C of the logistic regression: the inverse of its regularization."""
TREES: Final[tuple[dict[str, Any], ...]] = (
    {"num_leaves": 127},
    {"num_leaves": 255, "cat_smooth": 1.0, "cat_l2": 1.0, "max_cat_threshold": 256, "min_data_in_leaf": 5},
    {"num_leaves": 1023, "cat_smooth": 1.0, "cat_l2": 1.0, "max_cat_threshold": 256, "min_data_in_leaf": 5},
)
"""How trees split: LightGBM's own choice for categories, and two for fields of thousands of rare codes."""
ROUNDS: Final = 600
PATIENCE: Final = 30
"""Rounds without a better validation AUC before stopping."""
Tried = dict[str, tuple[Logits, float]]
"""Setting -> what the model says with it, and its AUC on validation."""


def logistic_regression(split: FrappeSplit, seed: int) -> tuple[Logits, dict[str, float]]:
    """Over one-hot fields. Returns what the best setting says, and the validation AUC of each."""
    one_hot = OneHotEncoder(categories=[np.arange(size) for size in split.fields.values()])
    train, *others = (one_hot.fit_transform(part.codes) for part in (split.train, split.validation, split.test))
    tried: Tried = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=500, random_state=seed).fit(train, split.train.labels)
        tried[f"C={strength}"] = _said(model.decision_function, others, split)
    return _best(tried)


def boosted_trees(split: FrappeSplit, seed: int) -> tuple[Logits, dict[str, float]]:
    """LightGBM over fields as categories. Returns what the best setting says, and the validation AUC of each."""
    categories = list(range(len(split.fields)))
    tried: Tried = {}
    for setting in TREES:
        train = lightgbm.Dataset(split.train.codes, split.train.labels, categorical_feature=categories)
        held = train.create_valid(split.validation.codes, split.validation.labels)
        fixed = {"objective": "binary", "metric": "auc", "learning_rate": 0.1, "seed": seed, "verbosity": -1}
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        model = lightgbm.train({**fixed, **setting}, train, ROUNDS, valid_sets=[held], callbacks=[stop])
        tried[str(setting)] = _said(
            lambda codes, model=model: model.predict(codes, raw_score=True),
            [split.validation.codes, split.test.codes],
            split,
        )
    return _best(tried)


def _said(score: Callable[[Any], Any], rows: list[Any], split: FrappeSplit) -> tuple[Logits, float]:
    logits = Logits(*(np.asarray(score(each)) for each in rows))
    return logits, round(auc(logits.validation, split.validation.labels), 5)


def _best(tried: Tried) -> tuple[Logits, dict[str, float]]:
    best, _ = max(tried.values(), key=lambda each: each[1])
    return best, {setting: reached for setting, (_, reached) in tried.items()}
