"""Why an item for a user: what proposes it, and which of the user's own events lead to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.batch import StateBatch, encode
from models.ranker import Ranker, RankerInput
from models.sources.base import Source
from models.sources.neighbours import Neighbours
from models.sources.own import Own
from models.state import SESSION_COLUMNS, UserState
from models.vocabulary import Vocabulary

_BY_EVENT = (Own.name, Neighbours.name)
"""Sources whose score of an item can be told apart by the user's events."""


@dataclass(frozen=True)
class SourceReason:
    """A source that proposes the item."""

    source: str
    rank: int
    """From 1, among all items of the source."""
    score: float


@dataclass(frozen=True)
class EventReason:
    """Something that the user did which speaks for the item."""

    item_id: str
    event_type: str
    at: float
    """Epoch seconds."""
    source: str
    weight: float
    """The source's score of the item if this event were all that is known."""


@dataclass(frozen=True)
class FeatureReason:
    """A feature that moved the ranker's score."""

    feature: str
    value: float
    effect: float
    """Negative: against the item."""


@dataclass(frozen=True)
class Explanation:
    """Everything that speaks for an item, the strongest first in each part."""

    sources: tuple[SourceReason, ...] = ()
    because: tuple[EventReason, ...] = ()
    features: tuple[FeatureReason, ...] = ()


def sources_of(sources: Mapping[str, Source], batch: StateBatch, item: int) -> tuple[SourceReason, ...]:
    """The sources that would propose an item to the one user of a batch, where it ranks best first."""
    reasons = []
    for name, source in sources.items():
        scores = source.scores(batch)[0]
        if np.isfinite(scores[item]):
            reasons.append(SourceReason(name, 1 + int((scores > scores[item]).sum()), float(scores[item])))
    return tuple(sorted(reasons, key=lambda reason: reason.rank))


def events_for(
    sources: Mapping[str, Source], vocabulary: Vocabulary, state: UserState, item: int
) -> tuple[EventReason, ...]:
    """The user's newest events of which a source alone would propose the item, the strongest first."""
    events = list(zip(state.session_items, state.session_types, state.session_times.tolist(), strict=True))
    if not events:
        return ()
    batch = encode([_alone(state, *event) for event in events], vocabulary)
    wanted = np.full((len(events), 1), item, dtype=np.int32)
    reasons = [
        EventReason(*event, name, float(weight))
        for name in _BY_EVENT
        if name in sources
        for event, weight in zip(events, sources[name].ask(batch).of(wanted)[:, 0].tolist(), strict=True)
        if np.isfinite(weight)
    ]
    return tuple(sorted(reasons, key=lambda reason: -reason.weight))


def features_of(ranker: Ranker, names: Sequence[str], given: RankerInput, column: int) -> tuple[FeatureReason, ...]:
    """What each feature does to one candidate's score: the score minus that with the feature at its mean (occlusion;
    Zeiler and Fergus, 2014). Exact for each feature alone, and one pass of the network for all.

    Args:
        given: of one user.
        column: the candidate.
    """
    values = given.features[0, column]  # [F]
    count = len(values)
    variants = np.tile(values, (count + 1, 1))  # the last one as it is
    np.fill_diagonal(variants, ranker.mean.numpy())
    at = np.full(count + 1, column)
    lists = replace(given, features=variants[None], item=given.item[:, at], codes=given.codes[:, at])
    scores = ranker.score(lists)[0]
    effects = (scores[-1] - scores[:-1]).tolist()
    moved = [FeatureReason(*each) for each in zip(names, values.tolist(), effects, strict=True) if each[2]]
    return tuple(sorted(moved, key=lambda reason: -abs(reason.effect)))


def _alone(state: UserState, item: str, kind: str, at: float) -> UserState:
    """A user of whom this event is all that is known."""
    session = dict(zip(SESSION_COLUMNS, ([item], [kind], [at]), strict=True))
    return UserState.from_row(state.user_id, session, state.now)
