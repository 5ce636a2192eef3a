"""The model's answers under rules, on every rung."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from feature_repo.schema import CATEGORY
from models.items import NUMBERS, ItemTable
from models.recommender import PINNED, Ask, Recommendation, Recommender
from models.rules import Fairness, Pin, Rules
from models.rungs import LastAnswer, ask_of, asked_of, made_up
from models.state import UserState


def ids(answer: list[Recommendation]) -> list[str]:
    return [item.item_id for item in answer]


def kinds(answer: list[Recommendation]) -> list[int]:
    """The category of each item of the small world."""
    return [int(item.item_id[1:]) % 4 for item in answer]


RULES = (
    Rules(diversity=0.7),
    Rules(per_category=2),
    Rules(pins=(Pin("i5", 2), Pin("i7"))),
    Rules(fairness=Fairness(CATEGORY, 0.8)),
    Rules(0.5, (Pin("i6", 3),), 3, Fairness(CATEGORY, 0.5)),
)


def test_rules_that_say_nothing_leave_the_answer_as_it_is(trained: Recommender, world) -> None:
    states = [*world.states(world.end), UserState.empty("nobody", world.end)]
    for state in states:
        [plain], [ruled] = (trained.answered([Ask(state, 10, rules=rules)]) for rules in (None, Rules()))
        assert plain.items == ruled.items
        assert plain.best is plain.items
        assert ruled.best[:10] == [item for item in plain.items if item in ruled.best]


@pytest.mark.parametrize("rules", RULES)
def test_a_ruled_answer_is_the_same_whoever_it_is_computed_with(trained: Recommender, world, rules: Rules) -> None:
    asks = [Ask(state, 6, rules=rules) for state in world.states(world.end)[:4]]
    together = trained.answer(asks)
    assert [ids(answer) for answer in together] == [ids(trained.answer([ask])[0]) for ask in asks]
    assert all(len(set(ids(answer))) == 6 for answer in together)
    assert all(item.sources for answer in together for item in answer)


def test_the_model_keeps_to_the_rules(trained: Recommender, world) -> None:
    for state in [*world.states(world.end)[:6], UserState.empty("nobody", world.end)]:
        plain, capped, diverse, pinned = trained.answer(
            [Ask(state, 8), *(Ask(state, 8, rules=rules) for rules in (RULES[1], RULES[0], RULES[2]))]
        )
        assert set(Counter(kinds(capped)).values()) == {2}  # 4 categories
        assert len(set(kinds(diverse))) >= len(set(kinds(plain)))
        assert (ids(pinned)[1], ids(pinned)[0]) == ("i5", "i7")
        assert [item.sources[0] == PINNED for item in pinned] == [True, True] + [False] * 6
        others = [item for item in ids(plain) if item not in ("i5", "i7")]
        assert ids(pinned)[2:] == others[:6]


def test_pins_without_a_place_stand_in_the_order_given(trained: Recommender, world) -> None:
    """Whatever the model thinks of them: its own best two, and one more, both ways round."""
    state = world.states(world.end)[0]
    [plain] = trained.answer([Ask(state, 2)])
    for given in (["i5", *ids(plain)], [*reversed(ids(plain)), "i5"]):
        [answer] = trained.answer([Ask(state, 5, rules=Rules(pins=tuple(map(Pin, given))))])
        assert ids(answer)[:3] == given


def test_what_is_pinned_is_shown_only_if_it_may_be(trained: Recommender, world) -> None:
    state = world.states(world.end)[0]
    pins = Rules(pins=(Pin("ghost", 1), Pin("i5", 1), Pin("i6", 2), Pin("i7", 40)))
    [free] = trained.answer([Ask(state, 5, rules=pins)])
    assert ids(free)[:2] == ["i5", "i6"]
    assert "ghost" not in ids(free)
    [excluded] = trained.answer([Ask(state, 5, exclude=["i5"], items=["i6"], rules=pins)])
    assert not {"i5", "i6"} & set(ids(excluded))
    [page] = trained.answer([Ask(state, 5, categories=["c1"], rules=pins)])
    assert ids(page)[0] == "i5"
    assert set(kinds(page)) == {1}


@pytest.fixture(scope="module")
def sold_out(trained: Recommender) -> Recommender:
    """The small shop has none of i5 and of every item of category 2 left."""
    items = trained.items
    numbers = items.numbers.copy()
    gone = [trained.vocabulary.items.get(f"i{n}") for n in range(60) if n == 5 or n % 4 == 2]
    numbers[gone, NUMBERS.index("in_stock")] = 0.0
    return trained.with_item_table(replace(items, numbers=numbers))


def test_what_is_sold_out_is_left_out(trained: Recommender, sold_out: Recommender, world) -> None:
    pins = Rules(pins=(Pin("i5", 1), Pin("i6", 2), Pin("i7", 3)))
    for state in [*world.states(world.end)[:8], UserState.empty("nobody", world.end)]:
        for ask in (Ask(state, 40, in_stock=True), Ask(state, 40, in_stock=True, rules=pins)):
            [answer] = sold_out.answer([ask])
            assert len(answer) == 40
            assert "i5" not in ids(answer)
            assert 2 not in kinds(answer)
            made, _ = made_up(sold_out, ask, LastAnswer((Recommendation("i6", 1.0, ()),), frozenset()))
            assert 2 not in kinds(made)
        assert sold_out.answer([Ask(state, 9)]) == trained.answer([Ask(state, 9, in_stock=True)])


def test_the_lower_rungs_keep_to_the_rules(trained: Recommender, world) -> None:
    state = world.states(world.end)[0]
    [answer] = trained.answered([Ask(state, 5, rules=RULES[1])])
    last = LastAnswer(tuple(answer.best), frozenset())
    for given_last in (last, None):
        made, is_cached = made_up(trained, Ask(state, 8, rules=RULES[4], exclude=["i9"]), given_last)
        assert is_cached is (given_last is not None)
        assert len(set(ids(made))) == 8
        assert max(Counter(kinds(made)).values()) <= 3
        assert ids(made)[2] == "i6"
        assert "i9" not in ids(made)


def test_an_old_bundles_items_are_in_stock(trained: Recommender, tmp_path) -> None:
    items = trained.items
    replace(items, numbers=items.numbers[:, :-1]).save(tmp_path / "items.npz")
    loaded = ItemTable.load(tmp_path / "items.npz")
    assert loaded.numbers.shape == items.numbers.shape
    assert not len(loaded.sold_out)


@pytest.mark.parametrize("rules", [None, *RULES])
def test_what_is_asked_can_be_logged(rules: Rules | None, world) -> None:
    ask = Ask(UserState.empty("u", world.end), 7, rules=rules)
    assert ask_of(asked_of(ask), ask.state) == ask


def test_a_cap_that_leaves_fewer_than_were_asked_for_ends_the_search(trained: Recommender, world, monkeypatch) -> None:
    looked = []
    popular = Recommender._popular
    monkeypatch.setattr(Recommender, "_popular", lambda self, *args: looked.append(args[0]) or popular(self, *args))
    state = world.states(world.end)[0]
    [answer] = trained.answer([Ask(state, 20, rules=Rules(per_category=1))])
    assert sorted(kinds(answer)) == [0, 1, 2, 3]  # 4 categories
    looked.clear()
    [answer] = trained.answer([Ask(state, 9, categories=["c1"], rules=Rules(per_category=3))])
    assert len(answer) == 3
    assert len(looked) <= 3  # the missing pins, what fills up, that nothing is left


def test_a_rare_pin_does_not_change_how_different_the_others_are(trained: Recommender, world) -> None:
    nobody = UserState.empty("nobody", world.end)
    alike = [item.item_id for item in trained.popular(60) if int(item.item_id[1:]) % 4 == 1]
    answers = [
        ids(trained.answer([Ask(nobody, 8, rules=Rules(diversity=0.3, pins=(Pin(pin, 8),)))])[0])
        for pin in (alike[-1], alike[-4])
    ]
    assert answers[0][:7] == answers[1][:7]
