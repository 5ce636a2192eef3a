"""What happened."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag
from pydantic.config import JsonDict

from feature_repo.event import Event
from services.messages.common import MAX_EVENTS
from services.messages.examples import ITEM, USER

_EVENT: JsonDict = {"event_id": "c-1", "user_id": USER, "item_id": ITEM, "event_type": "cart"}


def _shape(value: Any) -> str:
    return "events" if isinstance(value, list) else "event"


class EventsRequest(
    RootModel[
        Annotated[
            Annotated[Event, Tag("event")]
            | Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS), Tag("events")],
            Discriminator(_shape),
        ]
    ]
):
    """One event, or a list of them."""

    model_config = ConfigDict(hide_input_in_errors=True, json_schema_extra={"example": _EVENT})

    @property
    def is_batch(self) -> bool:
        return isinstance(self.root, list)

    @property
    def events(self) -> list[Event]:
        return self.root if isinstance(self.root, list) else [self.root]


SHAPES = frozenset({"event", "events"})
"""Names that the union above puts into an error's location, which no client sent."""


class EventsAnswer(BaseModel):
    """Sent once the events are durable."""

    model_config = ConfigDict(json_schema_extra={"example": {"accepted": 1, "duplicates": 0, "features_updated": True}})

    accepted: int = Field(description="events that are new")
    duplicates: int = Field(description="events whose `event_id` was there before; they changed nothing")
    features_updated: bool = Field(
        description="whether the next answer knows them; if not, they are applied as soon as the feature store is back"
    )
