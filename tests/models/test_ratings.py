"""Ratings: what is held back, what the biases are by hand, and that patterns are found where there are some."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

from models.errors import EmptyTrainingDataError, NotFittedError
from models.metrics import resampled_rows
from models.rating_predictor import RatingConfig, RatingPredictor
from models.ratings import Ratings, rating_errors, ratings_of

DAY_S = 86_400.0


def table(rows: list[tuple[str, str, str, int, float | None]]) -> pa.Table:
    """Rows of user, item, event type, day of January 2024 and value."""
    user, item, kind, day, value = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": user, "item_id": item, "event_type": kind,
            "timestamp": [datetime(2024, 1, each, tzinfo=UTC) for each in day],
            "value": pa.array(value, pa.float64()),
        }
    )  # fmt: skip


ROWS = [
    ("b", "x", "rating", 1, 2.0), ("a", "x", "rating", 1, 4.0), ("a", "y", "rating", 2, 5.0),
    ("a", "z", "rating", 3, 3.0), ("a", "x", "rating", 4, 1.0), ("b", "y", "view", 5, None),
    ("b", "z", "rating", 5, None),
]  # fmt: skip


def test_the_latest_rating_of_a_pair_counts_and_what_has_no_value_does_not() -> None:
    found = ratings_of(table(ROWS))
    assert found is not None
    assert (found.user.tolist(), found.item.tolist()) == ([0, 0, 0, 1], [1, 2, 0, 0])
    assert found.value.tolist() == [5.0, 3.0, 1.0, 2.0]


def test_without_values_there_are_no_ratings() -> None:
    assert ratings_of(table(ROWS[-2:])) is None


def test_the_last_of_each_or_what_came_from_a_moment_on_is_held_back() -> None:
    found = ratings_of(table(ROWS))
    assert found is not None
    learned, asked = found.split(None)  # user b has too few
    assert (learned.value.tolist(), asked.value.tolist()) == ([5.0, 3.0, 2.0], [1.0])
    learned, asked = found.split(datetime(2024, 1, 3, tzinfo=UTC).timestamp())
    assert (learned.value.tolist(), asked.value.tolist()) == ([5.0, 2.0], [3.0, 1.0])
    with pytest.raises(EmptyTrainingDataError, match="4 ratings to learn from, 0 held back"):
        found.split(datetime(2025, 1, 1, tzinfo=UTC).timestamp())


def test_errors_are_those_of_torchmetrics() -> None:
    rng = np.random.default_rng(1)
    predicted, wanted = rng.random(300) * 5, rng.random(300) * 5
    found = rating_errors(predicted, wanted, resampled_rows(300, 200, seed=2))
    theirs = torch.from_numpy(predicted), torch.from_numpy(wanted)
    assert found["rmse"].value == pytest.approx(float(mean_squared_error(*theirs, squared=False)))
    assert found["mae"].value == pytest.approx(float(mean_absolute_error(*theirs)))
    assert all(each.low < each.value < each.high for each in found.values())


def test_biases_by_hand() -> None:
    # Mean 3. Item 0: +2 and 0 over 2 + 2 ratings: 0.5. Item 1: -2 over 1 + 2: -2/3.
    # User 0: (2 - 0.5) over 1 + 1: 0.75. User 1: (0 - 0.5) + (-2 + 2/3) over 2 + 1: -11/18.
    ratings = Ratings(
        np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([5.0, 3.0, 1.0]), np.zeros(3), n_users=3, n_items=3
    )
    source = RatingPredictor(RatingConfig(item_shrinkage=2.0, user_shrinkage=1.0, factors=0)).fit(ratings)
    # User 2 and item 2 have no ratings.
    found = source.predict(np.array([0, 1, 2, 2]), np.array([1, 0, 0, 2]))
    assert found == pytest.approx([3 - 2 / 3 + 0.75, 3 + 0.5 - 11 / 18, 3.5, 3.0])


def test_predictions_stay_within_what_was_rated() -> None:
    ratings = Ratings(
        np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]), np.array([5.0, 5.0, 5.0, 1.0]), np.zeros(4), 2, 3
    )  # fmt: skip
    source = RatingPredictor(RatingConfig(item_shrinkage=0.0, user_shrinkage=0.0, factors=0)).fit(ratings)
    assert source.predict(np.array([0]), np.array([1])).tolist() == [5.0]


@pytest.mark.parametrize(("structure", "gains"), [(1.0, True), (0.0, False)])
def test_patterns_are_found_where_there_are_some_and_nothing_is_gained_where_there_are_none(
    structure: float, gains: bool
) -> None:
    rng = np.random.default_rng(4)
    users, items = 120, 60
    taste, kind = rng.choice([-1.0, 1.0], (users, 2)), rng.choice([-1.0, 1.0], (items, 2))
    bias = rng.normal(0.0, 0.4, users)[:, None] + rng.normal(0.0, 0.4, items)
    values = 3.0 + bias + structure * 0.5 * (taste @ kind.T) + rng.normal(0.0, 0.3, (users, items))
    user, item = np.nonzero(rng.random((users, items)) < 0.5)
    asked = rng.random(len(user)) < 0.2
    whole = Ratings(user, item, values[user, item], np.zeros(len(user)), users, items)
    learned, held = whole.where(~asked), whole.where(asked)
    rows = resampled_rows(len(held), 1, seed=1)
    plain, patterns = (
        rating_errors(
            RatingPredictor(RatingConfig(factors=factors)).fit(learned).predict(held.user, held.item), held.value, rows
        )["rmse"].value
        for factors in (0, 2)
    )
    assert (patterns < 0.9 * plain) is gains


def test_before_fit_says_so() -> None:
    with pytest.raises(NotFittedError, match="fit"):
        RatingPredictor().predict(np.array([0]), np.array([0]))
