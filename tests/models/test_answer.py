"""What a request may ask of the model, beyond the best for a user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.bundle import load
from models.recommender import Ask, Recommendation, Recommender
from models.rungs import LastAnswer, made_up
from models.state import UserState


def ids(answer: list[Recommendation]) -> list[str]:
    return [item.item_id for item in answer]


def test_requests_do_not_change_one_anothers_answers(trained: Recommender, world) -> None:
    first, second, third = world.states(world.end)[:3]
    asks = [
        Ask(first, 5),
        Ask(second, 10, categories=["c1"]),
        Ask(third, 3, items=["i5"], exclude=["i9"], novel_only=True),
        Ask(first, 4, only=["i1", "i2", "i3", "i4", "ghost"]),
        Ask(UserState.empty("nobody", world.end), 6),
        Ask(second, 6, items=["i8"], companions=True),
        Ask(third, 8, rest=True),
    ]
    together = trained.answer(asks)
    for ask, answer in zip(asks, together, strict=True):
        [alone] = trained.answer([ask])
        assert ids(alone) == ids(answer)
        np.testing.assert_allclose([i.score for i in alone], [i.score for i in answer], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("together", [2, 3, 16])
def test_an_answer_is_the_same_to_the_last_bit_whoever_it_is_computed_with(
    loaded: Recommender, world, together: int
) -> None:
    """What a logged answer can be made again from does not include the others of its moment."""
    states = [*world.states(world.end), UserState.empty("nobody", world.end)]
    given = [f"i{n}" for n in range(0, 40, 3)]
    kinds = (
        {"rest": True},
        {"items": ["i5", "i8"], "novel_only": True},
        {"items": ["i6"], "companions": True},
        {"only": given},
        {"categories": ["c1"]},
    )
    asks = [Ask(state, 3 + n, **kinds[n % len(kinds)]) for n, state in enumerate(states)]
    parts = [asks[start : start + together] for start in range(0, len(asks), together)]
    assert [answer for part in parts for answer in loaded.answer(part)] == [loaded.answer([ask])[0] for ask in asks]


def test_only_orders_what_was_given(trained: Recommender, world) -> None:
    state = world.states(world.end)[0]
    given = [f"i{n}" for n in range(0, 40, 3)]
    [answer] = trained.answer([Ask(state, 100, only=given)])
    assert sorted(ids(answer)) == sorted(given)
    scores = [item.score for item in answer]
    assert scores == sorted(scores, reverse=True)
    [everything] = trained.answer([Ask(state, 60)])
    shared = [item for item in ids(everything) if item in set(given)]
    assert ids(answer)[:5] == shared[:5]  # the same order as among all
    [nobody] = trained.answer([Ask(UserState.empty("nobody", world.end), 100, only=given)])
    assert sorted(ids(nobody)) == sorted(given)


def test_companions_go_with_the_items_and_the_user_decides_the_order(trained: Recommender, world) -> None:
    other_group = next(state for state in world.states(world.end) if int(state.user_id[1:]) % 4 != 2)
    [answer] = trained.answer([Ask(other_group, 8, items=["i6"], companions=True)])
    assert "i6" not in ids(answer)
    assert sum(int(item[1:]) % 4 == 2 for item in ids(answer)) >= 6  # of the item's group, not of the user's
    [unknown] = trained.answer([Ask(UserState.empty("nobody", world.end), 8, items=["i6"], companions=True)])
    assert sum(int(item[1:]) % 4 == 2 for item in ids(unknown)) >= 6


def test_what_was_just_bought_rests(trained: Recommender, world) -> None:
    state = world.states(world.end)[0]
    best = ids(trained.answer([Ask(state, 3)])[0])[0]
    bought = state.with_items([best], "purchase")
    if best in bought.own_items:
        at = bought.own_items.index(best)
        bought.own[at, -1] = world.end
        bought.own[at, 0] += 1
    assert best not in ids(trained.answer([Ask(bought, 60, rest=True)])[0])
    assert best in ids(trained.answer([Ask(bought, 60)])[0])
    last = LastAnswer((Recommendation(best, 1.0, ()),), frozenset())
    made, is_cached = made_up(trained, Ask(state, 5), last)
    assert (ids(made)[0], is_cached) == (best, True)
    made, is_cached = made_up(trained, Ask(bought, 60, rest=True), last)
    assert best not in ids(made)


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Recommender:
    return load(saved)


def test_an_explanation_names_sources_events_and_features(trained: Recommender, loaded: Recommender, world) -> None:
    for model in (trained, loaded):
        state = world.states(world.end)[0]
        [answer] = model.answer([Ask(state, 5)])
        best = answer[0]
        why = model.explain(state, best.item_id)
        assert set(best.sources) <= {reason.source for reason in why.sources}
        assert [reason.rank for reason in why.sources] == sorted(reason.rank for reason in why.sources)
        assert {reason.item_id for reason in why.because} <= set(state.session_items)
        assert why.because
        assert {reason.feature for reason in why.features} <= set(model.space.names)
        effects = [abs(reason.effect) for reason in why.features]
        assert effects == sorted(effects, reverse=True)
        assert effects[0] > 0
    assert not trained.explain(state, "ghost").sources
    nobody = trained.explain(UserState.empty("nobody", world.end), "i1")
    assert not nobody.because


def test_an_effect_is_the_score_with_the_feature_less_that_without(trained: Recommender, world) -> None:
    """Occlusion by hand: the constant feature `own_known` at its mean changes what its own column says."""
    state = world.states(world.end)[1]
    [answer] = trained.answer([Ask(state, 1)])
    effects = {reason.feature: reason.effect for reason in trained.explain(state, answer[0].item_id).features}
    # What is left out has no effect at all; what counts most for a re-bought item speaks for it.
    assert effects["own_decayed_log"] > 0
