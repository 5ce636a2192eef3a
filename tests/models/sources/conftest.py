"""What the tests of the sources share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from feature_repo.schema import ITEM_ID, PROFILE_COLUMNS
from models.attributes import ItemAttributes
from models.batch import StateBatch, encode
from models.entrants import GRU
from models.ids import IdMap
from models.interactions import Interactions, frame_of, interactions_of
from models.sources import SOURCES, source_class
from models.sources.als import Als
from models.sources.base import Source
from models.sources.content import Content
from models.sources.neighbours import Neighbours
from models.sources.sequence import Sequence
from models.sources.two_tower import TwoTower
from models.state import UserState
from models.training import TrainingConfig
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary


def vocabulary_of(events: pd.DataFrame) -> Vocabulary:
    return Vocabulary(
        IdMap(sorted(events[ITEM_ID].unique())), {name: IdMap(()) for name in (*ITEM_CATEGORICALS, *PROFILE_COLUMNS)}
    )


@pytest.fixture(scope="module")
def known(world) -> tuple[Vocabulary, Interactions]:  # type: ignore[no-untyped-def]
    vocabulary = vocabulary_of(world.events)
    return vocabulary, interactions_of(frame_of(world.events, world.end), vocabulary)


@pytest.fixture(scope="module")
def batch(world, known) -> StateBatch:  # type: ignore[no-untyped-def]
    return encode(world.states(world.end), known[0])


@pytest.fixture(scope="module", params=(*SOURCES, GRU))
def make_source(  # type: ignore[no-untyped-def]
    request: pytest.FixtureRequest, small_config: TrainingConfig, world, known
) -> Callable[[], Source]:
    """Makes a fresh source of each kind."""
    configured: dict[str, Callable[[], Source]] = {
        Neighbours.name: lambda: Neighbours(small_config.neighbours),
        Als.name: lambda: Als(small_config.als),
        Sequence.name: lambda: Sequence(small_config.sequence),
        GRU: lambda: Sequence(replace(small_config.sequence, network="gru")),
        Content.name: lambda: Content(ItemAttributes.of(world.items, known[0].items)),
        TwoTower.name: lambda: TwoTower(attributes=ItemAttributes.of(world.items, known[0].items)),
    }
    return configured.get(request.param) or source_class(request.param)


@pytest.fixture(scope="module")
def nobody(world, known) -> StateBatch:  # type: ignore[no-untyped-def]
    return encode([UserState.empty("nobody", world.end)], known[0])


@pytest.fixture(scope="module")
def fitted(make_source: Callable[[], Source], world, known) -> Source:  # type: ignore[no-untyped-def]
    """One of each kind, for tests that only ask it."""
    return make_source().fit(known[1], world.end)
