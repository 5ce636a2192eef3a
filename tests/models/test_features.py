import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import PROFILE_COLUMNS
from models.batch import encode
from models.candidates import CandidateConfig, generate
from models.features import FeatureSpace
from models.ids import IdMap
from models.interactions import frame_of, interactions_of
from models.items import ItemTable
from models.sources.base import Limits
from models.sources.own import Own
from models.sources.popularity import Popularity
from models.state import DAY_S, UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

NOW = 1_700_000_000.0


@pytest.fixture
def small() -> tuple[Vocabulary, ItemTable, UserState]:
    vocabulary = Vocabulary(
        IdMap(["milk", "bread", "soap"]),
        {**{name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)}, "category": IdMap(["food", "home"])},
    )
    table = ItemTable.pack(
        pd.DataFrame(
            {
                "item_id": ["milk", "bread", "soap", "stranger"],
                "category": ["food", "food", "home", None],
                "purchases_30d": [9, 4, 0, 1],
            }
        ),
        vocabulary,
    )
    row = {
        "own_items": ["milk"],
        "own_purchases": [3.0],
        "own_decayed": [10.0],
        "own_decayed_fast": [4.0],
        "own_decayed_slow": [12.0],
        "own_first_at": [NOW - 50 * DAY_S],
        "own_last_at": [NOW - 10 * DAY_S],
        "own_last_purchase_at": [NOW - 10 * DAY_S],
        "categories": ["food"],
        "category_shares": [1.0],
    }
    return vocabulary, table, UserState.from_row("u", row, NOW)


def test_own_features_by_hand(small: tuple[Vocabulary, ItemTable, UserState]) -> None:
    vocabulary, table, state = small
    space = FeatureSpace(("own",))
    items = vocabulary.items.encode(["milk", "bread"])[None, :]
    scores = {"own": np.array([[2.0, -np.inf]], dtype=np.float32)}
    values = space.compute(encode([state], vocabulary), items, scores, table)
    assert values.shape == (1, 2, len(space.names))
    milk, bread = (dict(zip(space.names, values[0, column].tolist(), strict=True)) for column in (0, 1))
    assert milk["own_known"] == 1.0
    assert bread["own_known"] == 0.0
    assert milk["own_purchases_log"] == pytest.approx(np.log(4))
    assert milk["own_since_purchase_log"] == pytest.approx(np.log(11))
    assert milk["own_gap_log"] == pytest.approx(np.log(21))  # three purchases within 40 days: every 20 days
    assert milk["own_due"] == pytest.approx(np.log(11 / 21))
    assert milk["own_share_log"] == pytest.approx(np.log(1 + 1e-4), abs=1e-6)
    assert milk["category_of_group"] == pytest.approx(1.0)
    assert bread["category_of_group"] == 0.0
    assert bread["category_share"] == pytest.approx(1.0)
    assert bread["category_affinity"] == pytest.approx(1.0)
    assert bread["item_purchases_30d_log"] == pytest.approx(np.log(5))
    assert bread["own_score"] == 2.0  # what a source doesn't propose has its worst score in the list


def test_nothing_known_gives_finite_features(small: tuple[Vocabulary, ItemTable, UserState]) -> None:
    vocabulary, table, _ = small
    space = FeatureSpace(("own",))
    scores = {"own": np.full((1, 3), -np.inf, dtype=np.float32)}
    batch = encode([UserState.empty("x", NOW)], vocabulary)
    assert np.isfinite(space.compute(batch, np.array([[1, 2, 0]], dtype=np.int32), scores, table)).all()


def test_candidates_are_the_union_without_repetition(world) -> None:
    items = sorted(world.events["item_id"].unique())
    vocabulary = Vocabulary(IdMap(items), {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)})
    events = interactions_of(frame_of(world.events, world.end), vocabulary)
    sources = {"own": Own().fit(events, world.end), "popularity": Popularity().fit(events, world.end)}
    batch = encode(world.states(world.end)[:5], vocabulary)
    allowed = np.arange(2, len(vocabulary.items), dtype=np.int32)
    none = np.empty(0, dtype=np.int32)
    limits = Limits([np.arange(2, 30, dtype=np.int32), *[none] * 4], [allowed] * 5)
    found = generate(sources, batch, CandidateConfig(own=4, new=3), limits)
    for row in range(5):
        ids = found.items[row][found.items[row] > 0].tolist()
        assert len(ids) == len(set(ids)) <= 7
        assert 1 not in ids
        own = set(batch.own_item[batch.own_row == row].tolist())
        new = found.proposed["popularity"][row]
        assert own.isdisjoint(found.items[row][new].tolist())
    assert not set(range(2, 30)).intersection(found.items[0].tolist())
    assert found.proposed["own"].sum(axis=1).max() <= 4
