"""What holds for the two towers alone: items that nobody took or of which nothing is known, what is learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import ITEM_ID, PROFILE_COLUMNS
from models.attributes import ItemAttributes
from models.batch import StateBatch, encode
from models.entrants import entrants
from models.errors import TableError
from models.ids import IdMap
from models.index import NOTHING
from models.interactions import Interactions, frame_of, interactions_of
from models.sources.base import Scores, top_k
from models.sources.towers import TwoTowerConfig, history_of
from models.sources.two_tower import TwoTower
from models.sources.two_tower_training import _Questions
from models.state import DAY_S, UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

SMALL = TwoTowerConfig(dim=16, hidden=16, targets=4, batch_size=32, negatives=64, epochs=5, learning_rate=1e-2)
COLD = [f"i{number}" for number in range(12)]
"""Items that are taken out of everything that is learned from"""


def vocabulary(ids: IdMap) -> Vocabulary:
    return Vocabulary(ids, {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)})


def ids_of(table: pd.DataFrame) -> IdMap:
    return IdMap(sorted(table[ITEM_ID]))


def warm_events(world, ids: IdMap) -> Interactions:  # type: ignore[no-untyped-def]
    warm = world.events[~world.events[ITEM_ID].isin(COLD)]
    return interactions_of(frame_of(warm, world.end), vocabulary(ids))


def states(world) -> list[UserState]:  # type: ignore[no-untyped-def]
    """The users as if the cold items were not there."""
    return [
        UserState.empty(state.user_id, world.end).with_items([item for item in state.own_items if item not in COLD])
        for state in world.states(world.end)
    ]


def fitted(world, table: pd.DataFrame, config: TwoTowerConfig = SMALL) -> TwoTower:  # type: ignore[no-untyped-def]
    ids = ids_of(world.items)
    return TwoTower(config, ItemAttributes.of(table, ids)).fit(warm_events(world, ids), world.end)


def share_of_own_group(source: TwoTower, world) -> float:  # type: ignore[no-untyped-def]
    """How many of the first three among the cold items are of the user's own group."""
    ids = ids_of(world.items)
    scores = source.scores(encode(states(world), vocabulary(ids))).copy()
    scores[:, ~np.isin(np.arange(len(ids)), ids.encode(COLD))] = NOTHING
    best = top_k(scores, 3)[0]
    group = np.array([int(name[1:]) % 4 for name in ("i0", *ids.names)])
    own = np.array([int(state.user_id[1:]) % 4 for state in states(world)])
    return float((group[best] == own[:, None]).mean())


def scores_of(source: TwoTower, ids: IdMap, *own: str) -> Scores:
    state = UserState.empty("somebody", 1_710_000_000.0).with_items(list(own))
    scores: Scores = source.scores(encode([state], vocabulary(ids)))[0]
    return scores


def test_places_items_that_nobody_took_by_their_attributes_and_finds_nothing_in_noise(world) -> None:  # type: ignore[no-untyped-def]
    assert share_of_own_group(fitted(world, world.items), world) > 0.9
    shuffled = world.items.assign(category=world.items["category"].sample(frac=1.0, random_state=3).to_numpy())
    assert share_of_own_group(fitted(world, shuffled), world) < 0.5


def test_items_with_neither_events_nor_attributes_are_never_proposed_and_say_nothing(world) -> None:  # type: ignore[no-untyped-def]
    ids = ids_of(world.items)
    source = fitted(world, world.items[world.items[ITEM_ID] != "i3"])
    scores = scores_of(source, ids, "i20", "i21")
    assert np.flatnonzero(~np.isfinite(scores)).tolist() == [0, ids.get("i3")]
    np.testing.assert_allclose(scores_of(source, ids, "i3", "i20", "i21"), scores, rtol=1e-5)
    assert (scores_of(source, ids, "i3") == NOTHING).all()


def test_without_attributes_ids_alone_find_the_structure(world) -> None:  # type: ignore[no-untyped-def]
    ids = ids_of(world.items)
    source = TwoTower(replace(SMALL, epochs=20)).fit(warm_events(world, ids), world.end)
    batch = encode(states(world), vocabulary(ids))
    scores = source.scores(batch).copy()
    assert (scores[:, ids.encode(COLD)] == NOTHING).all()
    scores[batch.own_row, batch.own_item] = NOTHING
    group = np.array([int(name[1:]) % 4 for name in ("i0", *ids.names)])
    own = np.array([int(state.user_id[1:]) % 4 for state in states(world)])
    assert (group[top_k(scores, 2)[0]] == own[:, None]).mean() > 0.5  # of a quarter by chance


def test_attributes_that_are_missing_or_the_same_everywhere_do_no_harm(world) -> None:  # type: ignore[no-untyped-def]
    odd = world.items.assign(same="x", empty=None, broken=np.nan)
    odd.loc[odd.index % 7 == 0, ["category", "name"]] = None
    scores = fitted(world, odd).scores(encode(states(world), vocabulary(ids_of(world.items))))
    assert not np.isnan(scores).any()
    assert share_of_own_group(fitted(world, world.items.assign(same="x")), world) > 0.9


def test_the_same_seed_gives_the_same_model(world) -> None:  # type: ignore[no-untyped-def]
    batch = encode(states(world), vocabulary(ids_of(world.items)))
    first, again, other = (
        fitted(world, world.items, replace(SMALL, seed=seed)).scores(batch)[:, 1:] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_an_item_that_is_new_since_the_fit_is_placed_among_those_like_it(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ids = ids_of(world.items)
    source = fitted(world, world.items)
    source.save(tmp_path)
    later = IdMap([*ids.names, "new", "blank"])
    told = pd.concat([world.items, pd.DataFrame({ITEM_ID: ["new"], "category": ["c1"]})])
    grown = TwoTower.load(tmp_path).with_items(told, later)
    taste = [f"i{number}" for number in range(13, 60, 4)]  # category c1
    scores = scores_of(grown, later, *taste)
    np.testing.assert_allclose(scores[: len(ids)], scores_of(source, ids, *taste), rtol=1e-4, atol=1e-4)
    assert scores[later.get("blank")] == NOTHING
    others = [later.get(f"i{number}") for number in range(60) if number % 4 != 1]
    assert scores[later.get("new")] > scores[others].max()
    with pytest.raises(TableError, match="3 items, 61 at the fit"):
        source.with_items(told, IdMap(["i1", "i2"]))


def test_attributes_of_another_id_map_are_an_error(world) -> None:  # type: ignore[no-untyped-def]
    ids = ids_of(world.items)
    others = ItemAttributes.of(world.items, IdMap(["i1", "i2", "i5"]))
    with pytest.raises(TableError, match="two_tower: attributes of 4 items, events of 61"):
        TwoTower(SMALL, others).fit(warm_events(world, ids), world.end)


def test_takes_part_in_comparisons_with_what_is_known_of_the_items(world) -> None:  # type: ignore[no-untyped-def]
    assert entrants()[TwoTower.name]().config == TwoTowerConfig()
    attributes = ItemAttributes.of(world.items, ids_of(world.items))
    source = entrants(attributes, {TwoTower.name: {"dim": 32}})[TwoTower.name]()
    assert isinstance(source, TwoTower)
    assert source.attributes is attributes
    assert source.config.dim == 32


def log_of(*rows: tuple[int, int, float]) -> Interactions:
    """Of user, item and day."""
    user, item, day = (np.array(column) for column in zip(*rows, strict=True))
    kind, weights = np.ones(len(rows), dtype=np.int32), np.array([0.0, 1.0])
    users = tuple(f"u{number}" for number in range(user.max() + 1))
    return Interactions(user.astype(np.int32), item.astype(np.int32), kind, day * DAY_S, users, 9, weights)


def test_answers_come_after_what_they_are_asked_with_and_are_new() -> None:
    # Of the first user 1 and 2 come together, 1 comes again with 3, and 4 is last; the second has one moment alone.
    log = log_of((0, 1, 1.0), (0, 2, 1.0), (0, 1, 2.0), (0, 3, 2.0), (0, 4, 3.0), (1, 5, 1.0), (1, 6, 1.0))
    attributes = ItemAttributes.none(log.n_items).matrix
    questions = _Questions(log, attributes, replace(SMALL, targets=1))
    assert log.item[questions.answers].tolist() == [3, 4]
    asked = questions.ask(np.array([0, 1]))
    items = asked.ids.numpy()  # without attributes no id is left out
    own = asked.history.own
    assert items[own.place].tolist() == [1, 2, 1, 2, 3]
    assert own.bounds.tolist() == [0, 2]
    assert items[asked.candidate[asked.right]].tolist() == [3, 4]
    # Uniform negatives are all six items here, so each is there for certain; the user's own four are no negatives.
    assert asked.expected.tolist() == [1.0] * 6
    assert items[asked.candidate][asked.wrong[0].numpy()].tolist() == [5, 6]


def batch_of(*own: str) -> StateBatch:
    state = UserState.empty("somebody", 0.0).with_items(list(own))
    return encode([state], vocabulary(IdMap(["a", "b", "c"])))


def test_shares_of_a_history_add_up_to_one_over_what_is_known() -> None:
    place = np.array([-1, 0, -1, 1])  # of "b" nothing is known
    history = history_of(batch_of("a", "a", "b", "c"), place, SMALL)
    assert history.own.place.tolist() == [0, 1]
    assert float(history.own.weight.sum()) == pytest.approx(1.0)
    assert history.own.weight[0] > history.own.weight[1]
    assert history.recent.place.tolist() == [0, 0, 1]
    assert history.recent.weight.tolist() == pytest.approx([1 / 3] * 3)
