"""Learnability in pairs: above popularity where there is structure, at chance where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.schema import ITEM_ID, PROFILE_COLUMNS, USER_ID
from models.batch import encode
from models.ids import IdMap
from models.index import NOTHING
from models.interactions import frame_of, interactions_of
from models.metrics import ndcg
from models.sources.als import Als
from models.sources.base import Source, top_k
from models.sources.bpr import Bpr
from models.sources.neighbours import Neighbours
from models.sources.popularity import Popularity
from models.sources.sequence import Sequence
from models.sources.towers import TwoTowerConfig
from models.sources.two_tower import TwoTower
from models.state import DAY_S
from models.training import TrainingConfig
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary


def novel_ndcg(make: Callable[[], Source], world) -> float:  # type: ignore[no-untyped-def]
    """Mean NDCG@10 for the last 20 days' items that the user did not have before."""
    cut = world.end - 20 * DAY_S
    vocabulary = Vocabulary(
        IdMap(sorted(world.items[ITEM_ID])), {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)}
    )
    source = make().fit(interactions_of(frame_of(world.events, cut), vocabulary), cut)
    states = world.states(cut)
    times = world.events["timestamp"].astype("datetime64[us, UTC]").astype(np.int64) / 1e6
    future = world.events[times >= cut].groupby(USER_ID)[ITEM_ID].agg(set)
    scores = source.scores(encode(states, vocabulary)).copy()
    values = []
    for row, state in enumerate(states):
        scores[row, vocabulary.items.encode(state.own_items)] = NOTHING
        wanted = future.get(state.user_id, set()) - set(state.own_items)
        ids = top_k(scores[row : row + 1], 10)[0][0]
        if wanted:
            values.append(ndcg(vocabulary.items.decode(ids[ids > 0].tolist()), wanted, 10))
    return float(np.mean(values))


@pytest.mark.parametrize("name", ["neighbours", "als", "bpr", "sequence", "gru", "two_tower"])
def test_finds_structure_and_invents_none(name: str, worlds, small_config: TrainingConfig) -> None:
    makers: dict[str, Callable[[], Source]] = {
        "neighbours": lambda: Neighbours(small_config.neighbours),
        "als": lambda: Als(small_config.als),
        "bpr": Bpr,
        "sequence": lambda: Sequence(small_config.sequence),
        "gru": lambda: Sequence(replace(small_config.sequence, network="gru")),
        "two_tower": lambda: TwoTower(TwoTowerConfig(dim=16, hidden=16, batch_size=32, learning_rate=1e-2)),
    }
    structured = worlds(users=120, items=80, per_user=14, groups=4)
    noise = worlds(users=120, items=80, per_user=14, groups=1)
    popular = novel_ndcg(Popularity, structured)
    assert novel_ndcg(makers[name], structured) > 2 * popular
    # Ten of some seventy items by chance; popularity on noise is chance too.
    assert novel_ndcg(makers[name], noise) < 2 * novel_ndcg(Popularity, noise)
