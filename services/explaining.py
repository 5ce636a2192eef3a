"""An explanation as people read it: the strongest reasons, each once, by name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from models import explanation as x
from services.champion import VARIANT, Served
from services.ladder import Outcome
from services.messages import EventReason, ExplainAnswer, FeatureReason, SourceReason

MAX_REASONS = 10
"""Of a user's events, and of the ranker's features."""


def explain_answer(served: Served, outcome: Outcome, item: str, found: x.Explanation) -> ExplainAnswer:
    """The message for what the model says about an item."""
    return ExplainAnswer(
        item_id=item,
        name=_name(served, item),
        item_known=item in served.names,
        sources=[SourceReason(source=r.source, rank=r.rank, score=r.score) for r in found.sources],
        because=[_event(served, reason) for reason in _once(found.because)[:MAX_REASONS]],
        features=[
            FeatureReason(feature=r.feature, value=r.value, effect=r.effect) for r in found.features[:MAX_REASONS]
        ],
        request_id=outcome.request_id,
        model_version=served.version,
        variant=VARIANT,
        served_by=outcome.step,
        user_known=not outcome.state.is_unknown,
    )


def _once(reasons: Iterable[x.EventReason]) -> list[x.EventReason]:
    """The strongest event per item and source: who buys milk each week did so for one reason."""
    strongest: dict[tuple[str, str], x.EventReason] = {}
    for reason in reasons:
        strongest.setdefault((reason.item_id, reason.source), reason)
    return list(strongest.values())


def _event(served: Served, reason: x.EventReason) -> EventReason:
    return EventReason(
        item_id=reason.item_id,
        name=_name(served, reason.item_id),
        event_type=reason.event_type,
        at=datetime.fromtimestamp(reason.at, UTC),
        source=reason.source,
        weight=reason.weight,
    )


def _name(served: Served, item: str) -> str:
    return served.names.get(item, item)
