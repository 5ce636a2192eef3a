"""What was just bought is not offered again before it is due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import PROFILE_COLUMNS
from models.batch import encode
from models.ids import IdMap
from models.items import ItemTable
from models.resting import resting
from models.state import DAY_S, UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

NOW = 1_700_000_000.0
NAN = float("nan")
VOCABULARY = Vocabulary(
    IdMap(["bread", "milk", "soap"]),
    {**{name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)}, "category": IdMap(["food", "home"])},
)
ITEMS = ItemTable.pack(
    pd.DataFrame({"item_id": ["bread", "milk", "soap"], "category": ["food", "food", "home"]}), VOCABULARY
)


def state(first_days: float, last_days: float, purchases: float, **more: Any) -> UserState:
    """A user who bought milk so many times, the first and the last time so long ago."""
    row = {
        "own_items": ["milk"],
        "own_purchases": [purchases],
        "own_decayed": [1.0],
        "own_first_at": [NOW - first_days * DAY_S],
        "own_last_at": [NOW - last_days * DAY_S],
        "own_last_purchase_at": [NOW - last_days * DAY_S if purchases else NAN],
        **more,
    }
    return UserState.from_row("u", row, NOW)


@pytest.mark.parametrize(
    ("user", "rests"),
    [
        (state(50, 10, 3), False),  # every 20 days, 10 ago: due again
        (state(49, 9, 3), True),
        (state(0.1, 0.1, 1), True),  # bought once, just now
        (state(4, 4, 1), False),  # nothing known: after half a week
        (state(4, 4, 1, purchase_gap_days=20.0), True),  # the user shops every 20 days
        (state(4, 4, 1, purchase_gap_days=20.0, cycle_categories=["food"], cycle_gap_days=[6.0]), False),
        (state(4, 4, 1, purchase_gap_days=2.0, cycle_categories=["home"], cycle_gap_days=[60.0]), False),
        (state(2, 2, 0), False),  # looked at, never bought
        (state(300, 60, 2), False),  # a cycle of 240 days counts as one of 90
    ],
)
def test_rests_until_the_cycle_comes_round(user: UserState, rests: bool) -> None:
    [ids] = resting(encode([user], VOCABULARY), ITEMS)
    assert VOCABULARY.items.decode(ids) == (["milk"] if rests else [])


def test_each_user_for_themselves() -> None:
    users = [state(50, 10, 3), UserState.empty("nobody", NOW), state(0.1, 0.1, 1), state(49, 9, 3)]
    found = resting(encode(users, VOCABULARY), ITEMS)
    assert [len(ids) for ids in found] == [0, 0, 1, 1]
    assert all(ids.dtype == np.int32 for ids in found)
