"""What holds for the content source alone: items that nobody has taken, and items of which nothing is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import ITEM_ID, PROFILE_COLUMNS
from models.attributes import ItemAttributes
from models.batch import encode
from models.errors import TableError
from models.ids import IdMap
from models.index import NOTHING
from models.interactions import Interactions, frame_of, interactions_of
from models.sources.base import top_k
from models.sources.content import Content
from models.state import UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

ITEMS = pd.DataFrame(
    {
        ITEM_ID: ["apple", "pear", "rum", "gin", "box"],
        "category": ["fruit", "fruit", "drink", "drink", None],
        "brand": ["x", "y", "x", "y", None],
    }
)
IDS = IdMap(ITEMS[ITEM_ID])
EVENTS = pd.DataFrame(
    {
        "user_id": ["u", "v"],
        ITEM_ID: ["apple", "rum"],
        "event_type": "purchase",
        "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True),
    }
)
NOW = 1_710_000_000.0


def vocabulary(ids: IdMap) -> Vocabulary:
    return Vocabulary(ids, {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)})


def events(ids: IdMap = IDS) -> Interactions:
    return interactions_of(frame_of(EVENTS, NOW), vocabulary(ids))


@pytest.fixture
def source() -> Content:
    return Content(ItemAttributes.of(ITEMS, IDS)).fit(events(), NOW)


def scores_of(source: Content, ids: IdMap, *own: str) -> dict[str, float]:
    """Item -> score for somebody who has some."""
    state = UserState.empty("somebody", NOW).with_items(list(own))
    return dict(zip(("", *ids.names), source.scores(encode([state], vocabulary(ids)))[0].tolist(), strict=True))


def test_an_item_that_nobody_took_is_scored_by_its_attributes(source: Content) -> None:
    found = scores_of(source, IDS, "apple")
    # All four features are as rare, so each of an item's two weighs the root of a half.
    assert found["apple"] == pytest.approx(1.0)
    assert found["pear"] == pytest.approx(0.5)
    assert found["rum"] == pytest.approx(0.5)
    assert found["gin"] == NOTHING


def test_two_own_items_point_to_what_they_share(source: Content) -> None:
    found = scores_of(source, IDS, "apple", "pear")
    assert found["apple"] == found["pear"] == pytest.approx(np.sqrt(0.75))
    assert found["rum"] == found["gin"] == pytest.approx(np.sqrt(0.75) / 3)


def test_an_item_of_which_nothing_is_known_is_never_proposed_and_says_nothing(source: Content) -> None:
    assert scores_of(source, IDS, "apple")["box"] == NOTHING
    assert set(scores_of(source, IDS, "box").values()) == {float(NOTHING)}
    assert scores_of(source, IDS, "apple", "box") == scores_of(source, IDS, "apple")


def test_an_item_that_is_new_since_the_fit_is_proposed_once_it_is_told(source: Content) -> None:
    later = IdMap([*IDS.names, "plum"])
    told = pd.concat([ITEMS, pd.DataFrame({ITEM_ID: ["plum"], "category": ["fruit"], "brand": ["new"]})])
    found = scores_of(source.with_items(told, later), later, "apple", "pear")
    assert found["plum"] == pytest.approx(np.sqrt(2 / 3))
    assert found["pear"] == pytest.approx(scores_of(source, IDS, "apple", "pear")["pear"])


def test_attributes_of_another_id_map_are_an_error() -> None:
    with pytest.raises(TableError, match="attributes of 6 items, events of 4"):
        Content(ItemAttributes.of(ITEMS, IDS)).fit(events(IdMap(["apple", "rum", "gin"])), NOW)


def test_what_is_loaded_takes_new_items_too(source: Content, tmp_path: Path) -> None:
    source.save(tmp_path)
    later = IdMap([*IDS.names, "plum"])
    told = pd.concat([ITEMS, pd.DataFrame({ITEM_ID: ["plum"], "category": ["fruit"]})])
    found = scores_of(Content.load(tmp_path).with_items(told, later), later, "apple")
    assert found == scores_of(source.with_items(told, later), later, "apple")


def share_of_own_group(table: pd.DataFrame, world) -> float:  # type: ignore[no-untyped-def]
    """How many of the first three among items taken out of the events are of the user's own group."""
    cold = [f"i{number}" for number in range(12)]
    ids = IdMap(sorted(table[ITEM_ID]))
    warm = world.events[~world.events[ITEM_ID].isin(cold)]
    fitted = Content(ItemAttributes.of(table, ids)).fit(interactions_of(frame_of(warm, world.end), vocabulary(ids)), 0)
    states = world.states(world.end)
    kept = [UserState.empty(s.user_id, world.end).with_items([i for i in s.own_items if i not in cold]) for s in states]
    scores = fitted.scores(encode(kept, vocabulary(ids))).copy()
    scores[:, ~np.isin(np.arange(len(ids)), ids.encode(cold))] = NOTHING
    best = top_k(scores, 3)[0]
    right = [
        int(item[1:]) % 4 == int(state.user_id[1:]) % 4
        for state, row in zip(states, best, strict=True)
        for item in ids.decode(row[row > 0].tolist())
    ]
    return float(np.mean(right))


def test_finds_the_group_of_items_that_nobody_took_and_nothing_in_noise(worlds) -> None:  # type: ignore[no-untyped-def]
    world = worlds(users=60, items=60, per_user=12, groups=4)
    assert share_of_own_group(world.items, world) == 1.0
    shuffled = world.items.assign(category=world.items["category"].sample(frac=1.0, random_state=3).to_numpy())
    assert share_of_own_group(shuffled, world) < 0.5
