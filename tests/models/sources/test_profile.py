"""What holds for popularity within groups: a worked example, and profiles as they should not be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import ITEM_ID, PROFILE_COLUMNS
from models.batch import StateBatch, encode
from models.ids import IdMap
from models.index import NOTHING
from models.interactions import Interactions, frame_of, interactions_of
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.profile import Profile, ProfileConfig, UserProfiles
from models.state import UserState
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

NOW = 1_710_000_000.0
VOCABULARY = Vocabulary(IdMap(["a", "b", "c"]), {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)})
CONFIG = ProfileConfig(half_life_days=1e9, prior=1 / 3)
YOUNG, OLD, UNMET = 1, 2, 3


@pytest.fixture
def events() -> Interactions:
    """Users u and v take a and b, w takes a and c; each purchase weighs 5."""
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("w", "a"), ("w", "c")]
    frame = pd.DataFrame(rows, columns=["user_id", ITEM_ID]).assign(
        event_type="purchase", timestamp=pd.to_datetime(NOW - 10.0, unit="s", utc=True)
    )
    return interactions_of(frame_of(frame, NOW), VOCABULARY)


def profile(*ages: int) -> np.ndarray:
    """Users of whom the age group alone is known."""
    codes = np.zeros((len(ages), len(PROFILE_COLUMNS)), dtype=np.int32)
    codes[:, 0] = ages
    return codes


def profiles(**ages: int) -> UserProfiles:
    return UserProfiles(IdMap(ages), np.concatenate([profile(0), profile(*ages.values())]))


def asked(*ages: int) -> StateBatch:
    batch = encode([UserState.empty(f"n{row}", NOW) for row in range(len(ages))], VOCABULARY)
    return replace(batch, profile=profile(*ages))


def assert_same_up_to_a_constant(scores: np.ndarray, others: np.ndarray) -> None:
    assert scores[0, 0] == others[0, 0] == NOTHING
    np.testing.assert_allclose(np.diff(scores[0, 1:]), np.diff(others[0, 1:]), rtol=1e-5)


def test_a_group_takes_its_own_share_and_a_part_of_everybodys(events: Interactions) -> None:
    source = Profile(profiles(u=YOUNG, v=YOUNG, w=OLD), CONFIG).fit(events, NOW)
    found = source.scores(asked(OLD))[0]
    # Weights of everybody: a 15, b 10, c 5, of 30, of which a third comes to the 5 of a and 5 of c of the old.
    np.testing.assert_allclose(np.exp(found[1:]), [(5 + 5) / 20, (10 / 3) / 20, (5 + 5 / 3) / 20], rtol=1e-6)


def test_several_groups_count_alike(events: Interactions) -> None:
    known = profiles(u=YOUNG, v=YOUNG, w=OLD)
    known.codes[:, 1] = [0, 1, 2, 2]
    source = Profile(known, CONFIG).fit(events, NOW)
    ask = asked(YOUNG, 0, YOUNG)
    ask.profile[:, 1] = [0, 2, 2]
    first, second, both = np.exp(source.scores(ask))
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-6)


@pytest.mark.parametrize("age", [0, UNMET], ids=["unknown", "not met before"])
def test_without_a_known_group_it_is_popularity(age: int, events: Interactions) -> None:
    source = Profile(profiles(u=YOUNG, v=YOUNG, w=OLD), CONFIG).fit(events, NOW)
    popular = Popularity(PopularityConfig(CONFIG.half_life_days)).fit(events, NOW)
    assert_same_up_to_a_constant(source.scores(asked(age)), popular.scores(asked(age)))


@pytest.mark.parametrize("known", [{}, {"somebody_else": YOUNG}, {"u": 0, "v": 0, "w": 0}])
def test_where_nothing_is_known_of_those_learned_from_it_is_popularity(
    known: dict[str, int], events: Interactions
) -> None:
    source = Profile(profiles(**known), CONFIG).fit(events, NOW)
    popular = Popularity(PopularityConfig(CONFIG.half_life_days)).fit(events, NOW)
    assert_same_up_to_a_constant(source.scores(asked(YOUNG)), popular.scores(asked(YOUNG)))


def test_saved_and_loaded_knows_the_groups(events: Interactions, tmp_path: Path) -> None:
    source = Profile(profiles(u=YOUNG, v=YOUNG, w=OLD), CONFIG).fit(events, NOW)
    source.save(tmp_path)
    loaded = Profile.load(tmp_path)
    np.testing.assert_allclose(loaded.scores(asked(YOUNG, OLD)), source.scores(asked(YOUNG, OLD)), rtol=1e-6)
    assert loaded.config == CONFIG
