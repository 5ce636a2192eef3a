"""Why an item for a user."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from feature_repo.event import Id
from services.messages.common import ModelAnswer, Request
from services.messages.examples import ABOUT, ITEM, USER

_ANSWER: JsonDict = {
    "item_id": "1029743",
    "name": "Fluid Milk White Only",
    "item_known": True,
    "sources": [
        {"source": "own", "rank": 1, "score": 2.31},
        {"source": "neighbours", "rank": 14, "score": 0.88},
    ],
    "because": [
        {
            "item_id": ITEM,
            "name": "Bananas",
            "event_type": "purchase",
            "at": "2017-12-30T17:02:00Z",
            "source": "neighbours",
            "weight": 0.41,
        }
    ],
    "features": [{"feature": "own_purchases_log", "value": 2.08, "effect": 0.37}],
    **ABOUT,
}


class ExplainRequest(Request):
    """The user and the item in question."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": USER, "item_id": "1029743"}})

    user_id: Id
    item_id: Id


class SourceReason(BaseModel):
    """A candidate source that proposes the item."""

    source: str
    rank: int = Field(ge=1, description="the item's place among all items of this source")
    score: float = Field(description="comparable within this source")


class EventReason(BaseModel):
    """Something that the user did which speaks for the item."""

    item_id: str
    name: str
    event_type: str
    at: AwareDatetime
    source: str = Field(description="the source that leads from this event to the item")
    weight: float = Field(description="how much this event alone would speak for the item, in the source's scores")


class FeatureReason(BaseModel):
    """A feature of the ranker."""

    feature: str
    value: float
    effect: float = Field(description="how far it moved the score; negative: against the item")


class ExplainAnswer(ModelAnswer):
    """What speaks for the item, strongest first; empty lists if nothing does, or if the model does not know it."""

    model_config = ConfigDict(json_schema_extra={"example": _ANSWER})

    item_id: str
    name: str = Field(description="the id where the catalogue has none")
    item_known: bool
    sources: list[SourceReason]
    because: list[EventReason]
    features: list[FeatureReason]
