"""Small worlds to learn from, made by rule so that what a model should find is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import EVENT_TYPE, EVENT_WEIGHTS, ITEM_ID, PURCHASE, TIMESTAMP, USER_ID
from models.boosted import BoostedConfig
from models.bundle import save
from models.candidates import CandidateConfig
from models.list_builder import Snapshot
from models.ranker import RankerConfig
from models.ranker_training import RankerTrainingConfig
from models.recommender import Recommender
from models.sources.als import AlsConfig
from models.sources.encoder import SequenceConfig
from models.sources.neighbours import NeighboursConfig
from models.state import DAY_S, UserState
from models.training import TrainingConfig, train

START = 1_700_000_000.0


@dataclass(frozen=True)
class World:
    """Events of a made-up shop."""

    events: pd.DataFrame
    items: pd.DataFrame
    end: float

    def states(self, now: float) -> list[UserState]:
        """The users' states at a moment, by the contract's definitions."""
        times = self.events[TIMESTAMP].astype("datetime64[us, UTC]").astype(np.int64) / 1e6
        past = self.events.assign(at=times)[times < now]
        return [UserState.from_row(str(user), row_of(part, now), now) for user, part in past.groupby(USER_ID)]

    def snapshots(self, cuts: Sequence[float]) -> list[Snapshot]:
        """Training cuts with the item table as it is."""
        return [Snapshot(cut, self.states(cut), self.items) for cut in cuts]


def row_of(events: pd.DataFrame, now: float) -> dict[str, object]:
    """One user's feature row from their events with an `at` column."""
    own: dict[str, list[float]] = {}
    for item, kind, at in zip(events[ITEM_ID], events[EVENT_TYPE], events["at"], strict=True):
        age = (now - at) / DAY_S
        new = [float(kind == PURCHASE), *(EVENT_WEIGHTS[kind] * 0.5 ** (age / half) for half in (90, 14, 365))]
        old = own.get(item)
        bought = at if kind == PURCHASE else (old[6] if old else None)
        own[item] = (
            [*new, at, at, bought]
            if old is None
            else [*(a + b for a, b in zip(old, new, strict=False)), old[4], at, bought]
        )
    names = (
        "own_purchases", "own_decayed", "own_decayed_fast", "own_decayed_slow", "own_first_at", "own_last_at",
        "own_last_purchase_at",
    )  # fmt: skip
    newest = events.sort_values("at").tail(50)
    return {
        "own_items": list(own),
        **{name: [values[index] for values in own.values()] for index, name in enumerate(names)},
        "session_items": newest[ITEM_ID].tolist(),
        "session_types": newest[EVENT_TYPE].tolist(),
        "session_times": newest["at"].tolist(),
        "events_90d": len(events),
        "last_event_at": float(events["at"].max()),
    }


def make_world(
    *,
    users: int,
    items: int,
    per_user: int,
    groups: int,
    kinds: Sequence[str] = (PURCHASE,),
    seed: int = 0,
    days: int = 90,
) -> World:
    """Users of a group take items of that group alone; with 1 group everything is noise."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), per_user)
    item = rng.integers(0, items // groups, len(user)) * groups + user % groups
    frame = pd.DataFrame(
        {
            USER_ID: [f"u{number}" for number in user],
            ITEM_ID: [f"i{number}" for number in item],
            EVENT_TYPE: rng.choice(list(kinds), len(user)),
            TIMESTAMP: pd.to_datetime(START + np.sort(rng.uniform(0, days * DAY_S, len(user))), unit="s", utc=True),
        }
    ).sample(frac=1.0, random_state=seed)
    # Times are given out after sorting, so shuffle users over them.
    frame[TIMESTAMP] = frame[TIMESTAMP].to_numpy()[rng.permutation(len(frame))]
    frame[TIMESTAMP] = pd.to_datetime(frame[TIMESTAMP], utc=True)
    frame = frame.sort_values(TIMESTAMP).reset_index(drop=True)
    table = pd.DataFrame(
        {
            ITEM_ID: [f"i{number}" for number in range(items)],
            "name": [f"Item {number}" for number in range(items)],
            "category": [f"c{number % groups}" for number in range(items)],
            "purchases_30d": 1.0,
        }
    )
    return World(frame, table, START + days * DAY_S)


@pytest.fixture(scope="session")
def small_config() -> TrainingConfig:
    """A training that takes a second."""
    return TrainingConfig(
        neighbours=NeighboursConfig(neighbours=20, threads=1),
        als=AlsConfig(factors=8, iterations=5, threads=1),
        sequence=SequenceConfig(dim=16, layers=1, epochs=3, batch_size=16, negatives=32, learning_rate=1e-2),
        candidates=CandidateConfig(own=20, new=20),
        ranker=RankerConfig(hidden=16, cross_layers=1, cross_rank=4),
        fit=RankerTrainingConfig(list_size=40, epochs=3, batch_size=16),
        trees=BoostedConfig(trees=30, least_in_leaf=5, least_gain=99.0, threads=1),  # there, and not in the order
    )


@pytest.fixture(scope="session")
def world() -> World:
    """60 users, 60 items, 4 groups."""
    return make_world(users=60, items=60, per_user=12, groups=4)


@pytest.fixture(scope="session")
def worlds() -> Callable[..., World]:
    """Makes further worlds."""
    return make_world


@pytest.fixture(scope="session")
def trained(world: World, small_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """A whole model of the small world."""
    cuts = [world.end - 45 * DAY_S, world.end - 30 * DAY_S, world.end - 15 * DAY_S]
    return train(
        world.events,
        world.snapshots(cuts),
        world.items,
        final_cut=world.end,
        config=small_config,
        run_dir=tmp_path_factory.mktemp("run"),
    )


@pytest.fixture(scope="session")
def saved(trained: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle, to be read."""
    return save(trained, tmp_path_factory.mktemp("bundle") / "b")
