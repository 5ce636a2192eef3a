"""A challenger beside a champion: what is refused, and what is no more than noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import gate
from models.candidates import CandidateConfig
from models.gate import GateConfig, Holdout, Shown, compare
from models.judged_probabilities import Judged
from models.recommender import Recommender
from models.state import DAY_S, UserState

LIMITS = GateConfig()


def values(mean: float, users: int = 2_000, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.3, users)


def test_the_same_model_is_neither_better_nor_worse() -> None:
    same = compare(values(0.4), values(0.4))
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
    assert not same.is_worse(LIMITS.margin)
    assert not same.is_better(LIMITS.margin)


@pytest.mark.parametrize(
    ("lower", "spread", "refused"),
    [
        (0.05, 0.01, True),  # an eighth lower, for nearly everybody
        (0.004, 0.0, False),  # surely lower, but by less than seeds differ
        (0.05, 3.0, False),  # by as much, but the users disagree so much that it may be chance
    ],
)
def test_worse_is_what_is_surely_lower_by_more_than_the_margin(lower: float, spread: float, refused: bool) -> None:
    champion = values(0.4)
    noise = np.random.default_rng(2).normal(0.0, 1.0, len(champion)) * spread
    challenger = champion - lower + noise - noise.mean()
    assert compare(challenger, champion).is_worse(LIMITS.margin) is refused
    assert compare(champion, challenger).is_better(LIMITS.margin) is refused


def test_an_interval_for_many_comparisons_is_wider() -> None:
    ours, theirs = values(0.4, seed=1), values(0.4, seed=2)
    one, three = compare(ours, theirs), compare(ours, theirs, comparisons=3)
    assert three.low < one.low
    assert three.high > one.high


def test_users_who_are_not_asked_do_not_count() -> None:
    found = compare(np.array([1.0, np.nan, 0.5]), np.array([0.0, 1.0, np.nan]))
    assert (found.users, found.ours, found.theirs) == (1, 1.0, 0.0)
    assert compare(np.array([np.nan]), np.array([np.nan])).users == 0


def holdout_of(users: int, had: int) -> Holdout:
    """Every user wants `w`, and had some items."""
    own = tuple(f"o{number}" for number in range(had))
    states = [UserState(f"u{user}", 0.0, own_items=own) for user in range(users)]
    return Holdout(states, {state.user_id: {"w"} for state in states}, {})


def shown(*answers: list[str]) -> Shown:
    return Shown({"all": list(answers), "novel": list(answers)})


def test_a_large_segment_that_loses_is_named_though_the_whole_does_not() -> None:
    few, many = holdout_of(150, 2), holdout_of(3_000, 30)
    states = [*few.states, *(replace(state, user_id=f"m{state.user_id}") for state in many.states)]
    both = Holdout(states, {state.user_id: {"w"} for state in states}, {})
    right, second = ["w", "x"], ["x", "w"]
    champion = shown(*[right] * 150, *[second] * 3_000)
    challenger = shown(*[second] * 150, *[right] * 1_500, *[second] * 1_500)
    refused = {
        f.check for f in gate.quality(challenger, champion, both, replace(LIMITS, segment_share=0.04)) if not f.passed
    }
    assert refused == {"quality, new users"}
    # 150 of 3,150 are a smaller part than is judged.
    assert all(finding.passed for finding in gate.quality(challenger, champion, both, LIMITS))


def test_new_to_the_user_is_judged_apart() -> None:
    users = holdout_of(200, 10)
    both = Holdout(
        users.states, {s.user_id: {"old", "w"} for s in users.states}, {s.user_id: {"old"} for s in users.states}
    )
    champion = Shown({"all": [["old"]] * 200, "novel": [["w"]] * 200})
    challenger = Shown({"all": [["old"]] * 200, "novel": [["x"]] * 200})
    refused = [f.check for f in gate.quality(challenger, champion, both, LIMITS) if not f.passed]
    assert refused == ["quality, novel items"]


def test_a_model_that_shows_everybody_the_same_is_refused() -> None:
    champion = shown(*([f"i{n}", f"j{n}"] for n in range(50)))
    assert gate.coverage(shown(*([f"i{n}", "j"] for n in range(50))), champion, LIMITS).passed
    assert not gate.coverage(shown(*(["i", "j"] for _ in range(50))), champion, LIMITS).passed


def judged(error: float) -> Judged:
    return Judged(days=30.0, users=1_000, heads={"purchase": {"ece after": error}})


@pytest.mark.parametrize(
    ("ours", "theirs", "passed"),
    [
        (judged(0.04), judged(0.01), True),
        (judged(0.4), None, True),  # the first one
        ({**judged(0.4), "users": 50}, judged(0.01), True),  # too few to tell
        (judged(0.06), judged(0.01), False),
        (judged(0.06), judged(0.05), True),  # the champion is not much better
        (None, judged(0.01), False),
        (Judged(days=30.0, users=1_000, heads={}), judged(0.01), False),  # one head fewer
        (None, None, True),
    ],
)
def test_probabilities_have_to_be_true(ours: Judged | None, theirs: Judged | None, passed: bool) -> None:
    assert gate.calibration(ours, theirs, LIMITS).passed is passed


@pytest.fixture
def asked(world, trained: Recommender) -> Holdout:
    cut = world.end - 15 * DAY_S
    states = world.states(cut)
    truth = {state.user_id: set(state.own_items) for state in states}
    return Holdout(states, truth, {})


def test_a_slow_model_is_refused(trained: Recommender, asked: Holdout, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate.latency(trained, trained, asked, replace(LIMITS, slower=5.0, answer_s=60.0)).passed
    assert not gate.latency(trained, None, asked, replace(LIMITS, answer_s=0.0)).passed
    slow = gate.latency(trained, trained, asked, replace(LIMITS, slower=0.1, answer_s=60.0))
    assert not slow.passed
    assert "times" in slow.said


def test_the_same_bundle_answers_the_same(trained: Recommender, asked: Holdout) -> None:
    assert gate.repeats(trained, trained, asked, LIMITS).passed
    other = replace(trained, candidates=CandidateConfig(own=1, new=1))
    assert not gate.repeats(trained, other, asked, LIMITS).passed


def test_a_trained_model_is_better_than_popularity_and_popularity_is_not(trained: Recommender, asked: Holdout) -> None:
    ours, popular = Shown.by(trained, asked, LIMITS.k), Shown.popular(trained, asked, LIMITS.k)
    assert gate.better_than_popular(ours, popular, asked, LIMITS).passed
    assert not gate.better_than_popular(popular, popular, asked, LIMITS).passed
