"""Rules by hand: small lists whose answer can be written down, and properties that hold for every list."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.schema import BRAND, CATEGORY
from models.errors import RuleError
from models.fairness import exposure_shares, exposures
from models.reranking import Pool, arranged, vectors
from models.rules import Fairness, Pin, Rules
from models.vocabulary import ITEM_CATEGORICALS

CATEGORY_AT, BRAND_AT = ITEM_CATEGORICALS.index(CATEGORY), ITEM_CATEGORICALS.index(BRAND)
NONE = Rules()


def pool(categories: list[int], scores: list[float] | None = None, brands: list[int] | None = None) -> Pool:
    """Items 1, 2, ... of these categories and brands, whose other fields are unknown."""
    codes = np.zeros((len(categories), len(ITEM_CATEGORICALS)), dtype=np.int32)
    codes[:, CATEGORY_AT] = categories
    codes[:, BRAND_AT] = brands or [0] * len(categories)
    given_scores = scores or np.linspace(1.0, 0.0, len(categories)).tolist()
    return Pool(np.arange(1, len(categories) + 1, dtype=np.int32), np.array(given_scores), codes)


def test_without_a_rule_the_order_is_the_scores() -> None:
    assert arranged(pool([1, 1, 2, 2]), NONE, 3, {}) == [0, 1, 2]


def test_mmr_takes_the_second_category_second() -> None:
    """Relevance 1, .8, .6, 0. With diversity .5 item 1 is worth .4 - .5 beside 0, its like, and item 2 .3 - .3: they
    share no category, yet the three unknown fields, which are .6 of the likeness."""
    assert arranged(pool([1, 1, 2, 3], [10.0, 8.0, 6.0, 0.0]), Rules(diversity=0.5), 2, {}) == [0, 2]
    assert arranged(pool([1, 1, 2, 3], [10.0, 8.0, 6.0, 0.0]), Rules(diversity=0.1), 2, {}) == [0, 1]


def test_likeness_is_the_weight_of_the_shared_fields() -> None:
    codes = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [2, 3, 4, 1], [5, 6, 7, 8]])
    alike = vectors(codes) @ vectors(codes).T
    np.testing.assert_allclose(alike[0], [1.0, 0.9, 0.1, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("most", "k", "expected"), [(1, 4, [0, 3, 5]), (2, 4, [0, 1, 3, 4]), (2, 9, [0, 1, 3, 4, 5]), (None, 2, [0, 1])]
)
def test_a_cap_takes_the_best_of_each_category(most: int | None, k: int, expected: list[int]) -> None:
    assert arranged(pool([1, 1, 1, 2, 2, 3]), Rules(per_category=most), k, {}) == expected


def test_items_without_a_category_are_not_capped() -> None:
    assert arranged(pool([0, 0, 0, 1, 1]), Rules(per_category=1), 5, {}) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        ({4: 2}, [0, 4, 1]),
        ({4: None}, [4, 0, 1]),
        ({4: None, 3: 1}, [3, 4, 0]),
        ({4: 2, 3: 2}, [0, 4, 3]),
        ({4: 3, 3: 3}, [0, 3, 4]),
        ({0: 3}, [1, 2, 0]),
    ],
)
def test_pins_are_at_their_places(pins: dict[int, int | None], expected: list[int]) -> None:
    """Of two at one place the second takes the next; after the last there is the one before."""
    assert arranged(pool([1, 2, 3, 4, 5]), NONE, 3, pins) == expected


def test_pins_count_for_the_cap() -> None:
    assert arranged(pool([1, 2, 1, 1]), Rules(per_category=1), 4, {3: 1, 2: 2}) == [3, 1]


def test_a_pin_beyond_a_short_answer_is_its_last() -> None:
    assert arranged(pool([1, 2, 3]), NONE, 10, {0: 8}) == [1, 2, 0]


def test_the_floor_is_reached_at_the_least_cost() -> None:
    """Exposures of 4 places: 1, .631, .5, .431; half of the candidates are of brand 2, so at least 0.5 · 0.5 · 2.562 =
    .64 is theirs. The last place alone has too little, the last two have .931."""
    candidates = pool([1] * 8, brands=[1, 1, 1, 1, 2, 2, 2, 2])
    assert arranged(candidates, NONE, 4, {}) == [0, 1, 2, 3]
    fair = Rules(fairness=Fairness(BRAND, 0.5))
    assert arranged(candidates, fair, 4, {}) == [0, 1, 4, 5]
    assert arranged(candidates, fair, 4, {4: 1}) == [4, 0, 1, 2]  # 1 is theirs already


def test_who_is_owed_less_than_the_last_place_gets_nothing() -> None:
    candidates = pool([1] * 20, brands=[1] * 19 + [2])
    assert arranged(candidates, Rules(fairness=Fairness(BRAND, 1.0)), 4, {}) == [0, 1, 2, 3]


def test_exposure_by_hand() -> None:
    np.testing.assert_allclose(exposures(3), [1.0, 0.63093, 0.5], atol=1e-5)
    found = exposure_shares([1, 2, 2])
    assert found == pytest.approx({1: 1 / 2.13093, 2: 1.13093 / 2.13093}, abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"diversity": 1.1},
        {"diversity": float("nan")},
        {"per_category": 0},
        {"pins": (Pin("a", 0),)},
        {"fairness": Fairness("colour", 0.5)},
        {"fairness": Fairness(BRAND, -0.1)},
    ],
)
def test_a_wrong_rule_is_named(wrong: dict) -> None:
    with pytest.raises(RuleError, match="expected"):
        Rules(**wrong)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Pool, Rules, int, dict[int, int | None]]:
    size = draw(st.integers(0, 40))
    codes = st.lists(st.integers(0, 4), min_size=size, max_size=size)
    scores = draw(st.lists(st.floats(-5, 5, width=16), min_size=size, max_size=size))
    made = pool(draw(codes), sorted(scores, reverse=True), draw(codes))
    k = draw(st.integers(1, 12))
    rules = Rules(
        diversity=draw(st.sampled_from([0.0, 0.3, 1.0])),
        per_category=draw(st.sampled_from([None, 1, 2, 5])),
        fairness=draw(st.sampled_from([None, Fairness(BRAND, 0.5), Fairness(BRAND, 1.0)])),
    )
    places = st.none() | st.integers(1, k)
    pins = draw(st.dictionaries(st.integers(0, size - 1), places, max_size=4)) if size else {}
    return made, rules, k, pins


@given(questions())
def test_every_answer_keeps_to_every_rule(question: tuple[Pool, Rules, int, dict[int, int | None]]) -> None:
    made, rules, k, pins = question
    answer = arranged(made, rules, k, pins)
    categories = made.codes[:, CATEGORY_AT]
    counts = Counter(categories[answer].tolist())
    most = rules.per_category or len(made.ids)
    allowed = sum(n if not c else min(n, most) for c, n in Counter(categories.tolist()).items())
    assert len(set(answer)) == len(answer) == min(k, allowed)
    assert all(n <= most for c, n in counts.items() if c)
    for at, place in pins.items():
        if at not in answer:  # its category was full, or the answer is
            assert counts[categories[at]] == most or len(pins) > len(answer)
        elif place is not None and answer.index(at) != place - 1:  # another one is pinned there, or nothing is
            assert len(answer) < place or answer[place - 1] in pins


@given(st.lists(st.integers(1, 2), min_size=30, max_size=60), st.integers(4, 12), st.floats(0.1, 0.8))
def test_the_floor_holds_for_every_list_of_two_groups(brands: list[int], k: int, least: float) -> None:
    made = pool([1] * len(brands), brands=brands)
    answer = arranged(made, Rules(fairness=Fairness(BRAND, least)), k, {})
    got = exposure_shares([brands[at] for at in answer])
    weights = exposures(k)
    for group in set(brands):
        floor = least * brands.count(group) / len(brands)
        if floor * weights.sum() >= weights[-1]:
            assert got.get(group, 0.0) >= floor - 1e-9
