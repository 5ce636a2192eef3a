from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from models.batch_top_k import best_of_all
from models.errors import NanScoreError


def whole(users, items, k, barred=None, **options):  # type: ignore[no-untyped-def]
    rows, places, scores = zip(*best_of_all(users, items, k, barred, **options), strict=True)
    return np.concatenate(rows), np.concatenate(places), np.concatenate(scores)


@pytest.mark.parametrize(("count", "k"), [(1, 5), (17, 3), (40, 40), (1000, 10), (999, 100)])
def test_finds_what_sorting_everything_finds(count: int, k: int) -> None:
    random = np.random.default_rng(count)
    users, items = (random.standard_normal((size, 8)).astype(np.float32) for size in (50, count))
    rows, places, scores = whole(users, items, k, block=16)
    every = users @ items.T
    wanted = np.argsort(-every, axis=1, kind="stable")[:, :k]
    assert np.array_equal(rows, np.arange(50))
    assert np.array_equal(places, wanted)
    np.testing.assert_allclose(scores, np.take_along_axis(every, wanted, axis=1), rtol=1e-5, atol=1e-5)


def test_among_many_equals_the_scores_are_those_of_sorting_everything() -> None:
    random = np.random.default_rng(1)
    users, items = random.integers(0, 2, (20, 3)), random.integers(0, 2, (500, 3))
    _, places, scores = whole(users.astype(np.float32), items.astype(np.float32), 30)
    every = users @ items.T
    assert np.array_equal(scores, -np.sort(-every, axis=1)[:, :30])
    assert np.array_equal(scores, np.take_along_axis(every, places, axis=1))
    assert all(len(set(row)) == 30 for row in places.tolist())


def test_what_is_barred_does_not_come_and_leaves_places_empty() -> None:
    barred = sparse.csr_matrix(np.array([[1, 1, 0], [0, 0, 0]]))
    _, places, scores = whole(np.ones((2, 1)), np.array([[3.0], [2.0], [1.0]]), 2, barred)
    assert places.tolist() == [[2, -1], [0, 1]]
    assert scores[0].tolist() == [1.0, -np.inf]


def test_a_vector_that_is_no_number_is_an_error() -> None:
    with pytest.raises(NanScoreError):
        whole(np.array([[np.nan]]), np.ones((3, 1)), 1)
