"""The benchmark of cold items: what is taken out, and the baseline that it is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.models.cold import by_groups, drawn
from benchmarks.models.complete_journey import Shop
from benchmarks.models.public import interactions
from models.attributes import ItemAttributes
from models.ids import IdMap
from models.split import against
from models.state import DAY_S

NAMES = [f"i{number}" for number in range(20)]
MOMENT = 10 * DAY_S


def bought(user: list[int], item: list[str], day: list[float], table: pd.DataFrame) -> Shop:
    events = interactions(np.array(user), np.array(item), np.array(day) * DAY_S)
    return Shop(events, IdMap(sorted(set(item))), table)


def test_the_items_of_a_draw_are_in_no_history_and_are_the_only_answers() -> None:
    table = pd.DataFrame({"item_id": NAMES, "category": [f"c{number % 2}" for number in range(20)]})
    # Each of five users takes every item before the moment and after it.
    rows = [(user, name, day) for user in range(5) for name in NAMES for day in (1.0, 20.0)]
    user, item, day = (list(column) for column in zip(*rows, strict=True))
    shop = bought(user, item, day, table)
    draw = drawn(shop, ItemAttributes.of(table, shop.items), 3, MOMENT, 30 * DAY_S)
    assert len(draw.cold) == 2
    assert not np.isin(draw.holdout.learned.item, draw.cold).any()
    assert not np.isin(draw.holdout.asked.item, draw.cold).any()
    assert sorted(set(draw.holdout.truth_item.tolist())) == draw.cold.tolist()
    assert draw.among_cold.truth_item.tolist() == [1, 2] * 5


def test_an_item_without_events_has_the_popularity_of_its_group_that_leans_on_the_coarser_one() -> None:
    table = pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "department": ["x", "x", "y"],
            "category": ["p", "q", "r"],
            "subcategory": None,
            "brand": None,
        }
    )
    # b is bought after the moment alone; a purchase at the moment weighs 5, so a has 5, c 15, the mean is 10.
    shop = bought([1, 1, 1, 1, 1], ["a", "c", "c", "c", "b"], [10.0, 10.0, 10.0, 10.0, 11.0], table)
    known, wanted = shop.events.where(shop.events.time <= MOMENT), shop.events.where(shop.events.time > MOMENT)
    found = by_groups(shop, against(known, wanted, now=MOMENT), 5.0)
    a, b, c = 1, 2, 3
    department = found["popularity of the department, 5"]
    assert department[[a, b, c]].tolist() == pytest.approx([55 / 6, 55 / 6, 65 / 6])
    category = found["popularity of the category, 5"]
    assert category[a] == pytest.approx((5 + 5 * 55 / 6) / 6)
    assert category[b] == pytest.approx(55 / 6)  # nobody bought anything else of q
