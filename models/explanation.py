"""Why an item for a user: what proposes it, and which of the user's own events lead to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.batch import encode
from models.sources.base import Source
from models.sources.neighbours import Neighbours
from models.sources.own import Own
from models.state import SESSION_COLUMNS, UserState
from models.vocabulary import Vocabulary

_EVENTS = 10
"""Events named at most, one per item and source."""
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


def explained(sources: Mapping[str, Source], vocabulary: Vocabulary, state: UserState, item: str) -> Explanation:
    """What speaks for an item; empty if the vocabulary does not have it."""
    if item not in vocabulary.items:
        return Explanation()
    inside = vocabulary.items.get(item)
    return Explanation(_sources(sources, vocabulary, state, inside), _because(sources, vocabulary, state, inside))


def _sources(
    sources: Mapping[str, Source], vocabulary: Vocabulary, state: UserState, item: int
) -> tuple[SourceReason, ...]:
    batch = encode([state], vocabulary)
    reasons = []
    for name, source in sources.items():
        scores = source.scores(batch)[0]
        if np.isfinite(scores[item]):
            reasons.append(SourceReason(name, 1 + int((scores > scores[item]).sum()), float(scores[item])))
    return tuple(sorted(reasons, key=lambda reason: reason.rank))


def _because(
    sources: Mapping[str, Source], vocabulary: Vocabulary, state: UserState, item: int
) -> tuple[EventReason, ...]:
    events = list(zip(state.session_items, state.session_types, state.session_times.tolist(), strict=True))
    if not events:
        return ()
    batch = encode([_alone(state, *event) for event in events], vocabulary)
    reasons = [
        EventReason(*event, name, float(weight))
        for name in _BY_EVENT
        if name in sources
        for event, weight in zip(events, sources[name].scores(batch)[:, item].tolist(), strict=True)
        if np.isfinite(weight)
    ]
    strongest: dict[tuple[str, str], EventReason] = {}
    for reason in sorted(reasons, key=lambda reason: -reason.weight):
        strongest.setdefault((reason.item_id, reason.source), reason)
    return tuple(strongest.values())[:_EVENTS]


def _alone(state: UserState, item: str, kind: str, at: float) -> UserState:
    """A user of whom this event is all that is known."""
    session = dict(zip(SESSION_COLUMNS, ([item], [kind], [at]), strict=True))
    return UserState.from_row(state.user_id, session, state.now)
