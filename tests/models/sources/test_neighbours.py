"""Ties of items and users by hand: who took what decides, in the way that the weighting says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from models.histories import states_of
from models.sources.largest import largest
from models.sources.neighbours import Neighbours, NeighboursConfig
from models.sources.pearson import correlated
from models.sources.user_neighbours import UserNeighbours, UserNeighboursConfig
from models.state import DAY_S
from tests.models.logs import log_of

# Users 0 to 3: {1, 2}, {1, 2, 3}, {1, 3}, {4}; each view weighs 1 and does not decay here.
LOG = log_of(
    [(0, 1, "view", 0.0), (0, 2, "view", 0.0), (1, 1, "view", 0.0), (1, 2, "view", 0.0), (1, 3, "view", 0.0),
     (2, 1, "view", 0.0), (2, 3, "view", 0.0), (3, 4, "view", 0.0)]
)  # fmt: skip
TAKEN = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
FOREVER = 1e9


def ties(weighting: str) -> np.ndarray:
    source = Neighbours(NeighboursConfig(weighting=weighting, fit_half_life_days=FOREVER))  # type: ignore[arg-type]
    found = source.fit(LOG, DAY_S).ties
    assert found is not None
    return found.toarray()[1:, 1:]


def test_cosine_is_users_in_common_over_the_roots_of_both() -> None:
    expected = np.array(
        [[0, 2 / np.sqrt(6), 2 / np.sqrt(6), 0], [2 / np.sqrt(6), 0, 1 / 2, 0], [2 / np.sqrt(6), 1 / 2, 0, 0], [0] * 4]
    )
    assert ties("cosine") == pytest.approx(expected, abs=1e-6)


def test_pearson_is_what_numpy_says_where_it_is_above_nothing() -> None:
    # Items 1 and 2: covariance 2/4 - 3/4 · 2/4 = 1/8, deviations √3/4 and 1/2: 1/√3.
    found = ties("pearson")
    assert found[0, 1] == pytest.approx(1 / np.sqrt(3))
    expected = np.maximum(np.corrcoef(TAKEN.T), 0.0)
    np.fill_diagonal(expected, 0.0)
    assert found == pytest.approx(expected, abs=1e-6)


def test_tfidf_counts_a_user_with_fewer_items_for_more() -> None:
    # Worth of a user: log(5 items, the unknown among them / (1 + items taken)).
    worth = np.log(5 / (1 + TAKEN.sum(axis=1)))
    weighted = TAKEN * worth[:, None]
    expected = weighted.T @ weighted / np.outer(*[np.linalg.norm(weighted, axis=0)] * 2)
    np.fill_diagonal(expected, 0.0)
    found = ties("tfidf")
    assert found == pytest.approx(expected, abs=1e-6)
    # User 0 and 1 have items 1 and 2 in common; user 1, who takes most, says less than by cosine alone.
    assert found[1, 2] < ties("cosine")[1, 2]


def test_bm25_counts_what_a_user_took_by_how_much_that_user_takes() -> None:
    k1, b = 100.0, 0.8
    amount = np.log1p(TAKEN)  # events are damped before
    # An item's sum over users over the mean of these sums is its length; a user's rarity is as with TF-IDF.
    length = np.append(0.0, amount.sum(axis=0))
    norm = (1.0 - b) + b * length / length.mean()
    rarity = np.log(5) - np.log1p(TAKEN.sum(axis=1))
    weighted = amount * (k1 + 1.0) / (k1 * norm[None, 1:] + amount) * rarity[:, None]
    expected = weighted.T @ weighted / np.outer(*[np.linalg.norm(weighted, axis=0)] * 2)
    np.fill_diagonal(expected, 0.0)
    assert ties("bm25") == pytest.approx(expected, abs=1e-5)


def test_correlations_do_not_depend_on_how_many_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = sparse.random(60, 25, 0.3, "csr", rng=np.random.default_rng(3))
    whole = correlated(values, 5)
    monkeypatch.setattr("models.sources.pearson._TOGETHER", 7)
    assert correlated(values, 5).toarray() == pytest.approx(whole.toarray())
    assert (np.diff(whole.indptr) <= 5).all()
    expected = np.corrcoef(values.toarray().T)
    assert whole[3].max() == pytest.approx(expected[3].max())


def test_what_everybody_took_alike_correlates_with_nothing() -> None:
    found = correlated(sparse.csr_matrix([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), 5).toarray()
    assert found == pytest.approx(np.array([[0.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("weighting", ["cosine", "tfidf"])
def test_users_count_by_their_similarity(weighting: str) -> None:
    config = UserNeighboursConfig(weighting=weighting, fit_half_life_days=FOREVER)  # type: ignore[arg-type]
    source = UserNeighbours(config).fit(LOG, DAY_S)
    batch = states_of(LOG, np.array([0], dtype=np.int32), np.array([1.0]), 5)
    # What an item says: with TF-IDF log(1 + users / who took it).
    worth = np.log1p(4 / TAKEN.sum(axis=0)) if weighting == "tfidf" else np.ones(4)
    rows = TAKEN * worth
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = (rows[0] @ rows.T) @ rows
    found = source.scores(batch)[0, 1:]
    assert found[:3] == pytest.approx(expected[:3], abs=1e-5)
    assert found[3] == -np.inf  # nobody like user 0 has item 4


def test_the_largest_of_each_row_are_kept() -> None:
    matrix = sparse.csr_matrix([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    assert largest(matrix, 2).toarray().tolist() == [[3, 0, 2], [0, 0, 0], [0, 5, 0]]
