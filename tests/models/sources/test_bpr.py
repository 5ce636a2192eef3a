"""Pairwise factorisation: the seed decides, and a user who comes after the training is given a place by their items."""

from __future__ import annotations

import numpy as np
import pytest

from models.histories import states_of
from models.sources.bpr import Bpr, BprConfig
from models.state import DAY_S
from tests.models.logs import log_of

# Two groups of users and items; user 8 has one item of the second and was not there at the training.
ROWS = [(user, 1 + 4 * (user % 2) + (user // 2 + n) % 4, "view", float(n)) for user in range(8) for n in range(3)]
NEW = (8, 6, "view", 1.0)


@pytest.fixture(scope="module")
def source() -> Bpr:
    return Bpr(BprConfig(factors=8)).fit(log_of(ROWS, 9), 9 * DAY_S)


def test_the_same_seed_is_the_same_model_and_another_is_not(source: Bpr) -> None:
    again = Bpr(BprConfig(factors=8)).fit(log_of(ROWS, 9), 9 * DAY_S)
    other = Bpr(BprConfig(factors=8, seed=8)).fit(log_of(ROWS, 9), 9 * DAY_S)
    batch = states_of(log_of(ROWS, 9), np.arange(8, dtype=np.int32), np.full(8, 9 * DAY_S), 5)
    assert np.array_equal(source.scores(batch), again.scores(batch))
    assert not np.allclose(source.scores(batch)[:, 1:], other.scores(batch)[:, 1:])


def test_users_are_given_the_items_of_their_group(source: Bpr) -> None:
    log = log_of([*ROWS, NEW], 9)
    scores = source.scores(states_of(log, np.arange(9, dtype=np.int32), np.full(9, 9 * DAY_S), 5))
    for user in range(8):
        first, second = scores[user, 1:5].min(), scores[user, 5:9].min()
        assert (first > scores[user, 5:9].max()) if user % 2 == 0 else (second > scores[user, 1:5].max())
    assert scores[8, 5:9].min() > scores[8, 1:5].max()


def test_an_item_that_nobody_took_is_not_proposed() -> None:
    source = Bpr(BprConfig(factors=4, iterations=2)).fit(log_of(ROWS, 11), 9 * DAY_S)
    scores = source.scores(states_of(log_of(ROWS, 11), np.array([0], dtype=np.int32), np.array([9 * DAY_S]), 5))
    assert np.isfinite(scores[0]).tolist() == [False, *[True] * 8, False, False]
