"""The hybrid's weights: what knows more weighs more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models import blend
from models.batch import StateBatch
from models.errors import EmptyTrainingDataError
from models.places import Scorer, places_of
from models.sources.asked import Dense
from models.sources.base import Scores, Source
from models.split import Holdout, at_moment
from models.state import DAY_S
from tests.models.logs import log_of

USERS, ITEMS = 60, 40


class Told(Source):
    """Scores that were made up beforehand, by the user's first item."""

    name = "told"

    def __init__(self, scores: Scores) -> None:
        self.scores_of_user = scores

    def fit(self, events: Any, now: float) -> Told:
        return self

    def ask(self, batch: StateBatch) -> Dense:
        return Dense(self.scores_of_user[batch.session_item[:, -1]])

    def save(self, folder: Any) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Any) -> Told:
        raise NotImplementedError


@pytest.fixture(scope="module")
def holdout() -> Holdout:
    """User n did something with item n + 1, and takes one of those behind it."""
    rng = np.random.default_rng(5)
    rows = [(user, user % ITEMS + 1, "view", 1.0) for user in range(USERS)]
    rows += [(user, int(rng.integers(1, ITEMS + 1)), "view", 3.0) for user in range(USERS)]
    return at_moment(log_of(rows, ITEMS + 1), 2 * DAY_S)


def sources(holdout: Holdout, strength: float) -> dict[str, Source]:
    rng = np.random.default_rng(6)
    noise, signal = rng.standard_normal((2, ITEMS + 1, ITEMS + 1)).astype(np.float32)
    first = {int(user): int(item) for user, item in zip(holdout.asked.user, holdout.asked.item, strict=True)}
    for row, item in zip(holdout.truth_row, holdout.truth_item, strict=True):
        signal[first[int(holdout.users[row])], item] += strength
    return {"noise": Told(noise), "signal": Told(signal)}


def test_the_learned_weights_go_to_what_tells_something(holdout: Holdout) -> None:
    made = sources(holdout, 3.0)
    found = blend.learned(made, holdout, 10, 5, hide="nothing")
    assert found.weights["signal"] > 4 * found.weights.get("noise", 0.0)
    assert sum(found.weights.values()) == pytest.approx(1.0)
    alone = places_of(made["signal"].scores, holdout, hide="nothing", length=5).ndcg(10).mean()
    assert places_of(found.scores, holdout, hide="nothing", length=5).ndcg(10).mean() >= alone


def test_answers_that_may_not_come_say_nothing(holdout: Holdout) -> None:
    made = sources(holdout, 3.0)
    first = dict(zip(holdout.asked.user.tolist(), holdout.asked.item.tolist(), strict=True))
    item = holdout.truth_item.copy()
    item[:5] = [first[user] for user in holdout.users[holdout.truth_row[:5]].tolist()]
    found = blend.learned(made, replace(holdout, truth_item=item), 10, 5)
    assert found.weights["signal"] > 0.5
    with pytest.raises(EmptyTrainingDataError, match="may come"):
        blend.learned(made, replace(holdout, truth_row=holdout.truth_row[:5], truth_item=item[:5]), 10, 5)


def test_two_that_know_different_halves_are_both_listened_to(holdout: Holdout) -> None:
    first = {int(user): int(item) for user, item in zip(holdout.asked.user, holdout.asked.item, strict=True)}
    noise = np.random.default_rng(6).standard_normal((2, ITEMS + 1, ITEMS + 1)).astype(np.float32)
    for row, item in zip(holdout.truth_row, holdout.truth_item, strict=True):
        noise[row % 2, first[int(holdout.users[row])], item] += 3.0
    made: dict[str, Source] = {"even": Told(noise[0]), "odd": Told(noise[1])}
    found = blend.learned(made, holdout, 10, 5, hide="nothing")
    assert set(found.weights) == set(made)

    def quality(score: Scorer) -> float:
        return float(places_of(score, holdout, hide="nothing", length=5).ndcg(10).mean())

    assert quality(found.scores) > max(quality(source.scores) for source in made.values())


def test_the_classic_alpha_leaves_noise_out(holdout: Holdout) -> None:
    made = sources(holdout, 3.0)
    found = blend.classic(made, "noise", "signal", holdout, 10, 5)
    assert found.weights["noise"] < 0.5
    alone = places_of(lambda batch: made["signal"].scores(batch).copy(), holdout).ndcg(10).mean()
    assert places_of(found.scores, holdout, length=5).ndcg(10).mean() >= alone


def test_standing_is_the_same_on_any_scale_and_never_nan() -> None:
    scores = np.array([[-np.inf, 1.0, 2.0, 3.0], [-np.inf] * 4, [5.0] * 4], dtype=np.float32)
    standing = blend.standardised(scores)
    assert np.isfinite(standing).all()
    np.testing.assert_allclose(standing, blend.standardised(10 * scores + 7), atol=1e-5)
    assert standing[0].argmin() == 0
    assert not standing[1:].any()


def test_what_is_proposed_stands_above_what_is_not() -> None:
    nothing = -np.inf
    scores = np.array([[nothing, nothing, 3.0, nothing], [nothing, 2.0, 2.0, nothing]], dtype=np.float32)
    standing = blend.standardised(scores)
    assert standing[0].argmax() == 2
    assert (np.sort(standing[1])[:2] < 0).all()
    assert (standing[1, 1:3] > 0).all()


def test_equal_scores_stand_alike_however_many() -> None:
    for count in (2, 3, 5):
        scores = np.full((1, 100_000), -np.inf, dtype=np.float32)
        scores[0, :count] = 0.1
        assert blend.standardised(scores)[0, 0] > 4.0


def test_a_source_of_a_single_item_is_heard(holdout: Holdout) -> None:
    made = sources(holdout, 3.0)
    single = np.full((ITEMS + 1, ITEMS + 1), -np.inf, dtype=np.float32)
    first = {int(user): int(item) for user, item in zip(holdout.asked.user, holdout.asked.item, strict=True)}
    for row, item in zip(holdout.truth_row, holdout.truth_item, strict=True):
        single[first[int(holdout.users[row])], item] = 1.0
    made["single"] = Told(single)
    found = blend.learned(made, holdout, 10, 5, hide="nothing")
    alone = places_of(made["single"].scores, holdout, hide="nothing", length=5).ndcg(10).mean()
    assert places_of(found.scores, holdout, hide="nothing", length=5).ndcg(10).mean() >= alone


def test_a_source_that_proposes_nothing_is_not_listened_to(holdout: Holdout) -> None:
    made = sources(holdout, 3.0)
    made["silent"] = Told(np.full((ITEMS + 1, ITEMS + 1), -np.inf, dtype=np.float32))
    assert "silent" not in blend.learned(made, holdout, 10, 5, hide="nothing").weights
