"""How far predictions are from what users rated, on the same kind of split as the ranking."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from models.metrics import resampled_rows
from models.rating_predictor import RatingConfig, RatingPredictor
from models.ratings import Ratings, rating_errors

PREDICTORS: Final = {
    "biases": RatingConfig(factors=0),
    "biases and svd": RatingConfig(),
}
"""Name -> choices; the first is the baseline"""


def evaluate_ratings(
    ratings: Ratings, moment: float | None, resamples: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Predictor -> RMSE and MAE, each with value, low and high.

    Args:
        ratings: all that were given.
        moment: of the split, epoch seconds; None: each user's last one is held back.
        resamples: how often ratings are drawn again for the intervals.
        seed: of the draws.

    Raises:
        EmptyTrainingDataError: a side of the split is empty.
    """
    learned, asked = ratings.split(moment)
    rows = resampled_rows(len(asked), resamples, seed)
    found = {}
    for name, config in PREDICTORS.items():
        predicted = RatingPredictor(config).fit(learned).predict(asked.user, asked.item)
        found[name] = {metric: asdict(each) for metric, each in rating_errors(predicted, asked.value, rows).items()}
    return found
