import math

import numpy as np
import pytest

from feature_repo.schema import PROFILE_COLUMNS
from models.batch import encode
from models.ids import IdMap
from models.state import ACTIVITY, DAY_S, OWN, STATE_COLUMNS, UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

NOW = 1_700_000_000.0


def test_unknown_user_is_empty_whatever_form_nothing_takes() -> None:
    for row in (None, {}, dict.fromkeys(STATE_COLUMNS), dict.fromkeys(STATE_COLUMNS, float("nan"))):
        state = UserState.from_row("nobody", row, NOW)
        assert state.is_unknown
        assert state.own.shape == (0, len(OWN))
        assert np.isnan(state.activity).all()


@pytest.mark.parametrize("make", [list, np.array, tuple])
def test_lists_and_arrays_are_the_same(make: type) -> None:
    row = {
        "own_items": make(["a", "b"]),
        "own_purchases": make([2.0, 1.0]),
        "own_last_purchase_at": [None, 5.0],
        "session_items": make(["a"]),
        "session_types": make(["view"]),
        "session_times": make([NOW - 60]),
        "events_7d": 3,
        "age_group": "45-54",
    }
    state = UserState.from_row("u", row, NOW)
    assert state.own_items == ("a", "b")
    assert state.own[:, OWN.index("own_purchases")].tolist() == [2.0, 1.0]
    assert math.isnan(state.own[0, OWN.index("own_last_purchase_at")])
    assert state.activity[ACTIVITY.index("events_7d")] == 3.0
    assert state.profile[0] == "45-54"
    assert not state.is_unknown


def test_parallel_lists_of_different_length_are_cut_not_an_error() -> None:
    row = {"own_items": ["a", "b"], "own_decayed": [1.0], "session_items": ["a", "b"], "session_types": ["view"]}
    state = UserState.from_row("u", row, NOW)
    assert math.isnan(state.own[1, OWN.index("own_decayed")])
    assert state.session_items == ("a",)


def test_a_session_event_counts_before_the_own_items_have_it() -> None:
    row = {"session_items": ["a", "a"], "session_types": ["view", "purchase"], "session_times": [NOW - 90 * DAY_S, NOW]}
    state = UserState.from_row("u", row, NOW)
    own = dict(zip(OWN, state.own[0], strict=True))
    assert own["own_decayed"] == pytest.approx(1 * 0.5 + 5)  # a view one half-life ago, a purchase now
    assert own["own_purchases"] == 1.0
    assert own["own_first_at"] == NOW - 90 * DAY_S
    assert own["own_last_purchase_at"] == NOW


def test_cart_items_enter_session_and_own() -> None:
    state = UserState.empty("u", NOW).with_items(["x", "y"])
    assert state.session_items == ("x", "y") == state.own_items
    assert state.session_types == ("cart", "cart")
    assert len(UserState.empty("u", NOW).with_items([str(i) for i in range(80)]).session_items) == 50


def test_the_strongest_own_items_are_each_users_own() -> None:
    def state(name: str, weights: list[float]) -> UserState:
        items = [f"{name}{n}" for n in range(len(weights))]
        return UserState.from_row(name, {"own_items": items, "own_decayed": weights}, NOW)

    states = [state("a", [1.0, 5.0, 3.0]), state("b", []), state("c", [2.0])]
    names = [item for one in states for item in one.own_items]
    fields = {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)}
    batch = encode(states, Vocabulary(IdMap(names), fields))
    assert [names[at] for at in batch.strongest(2)] == ["a1", "a2", "c0"]
    assert batch.strongest(3).tolist() == [0, 1, 2, 3]
