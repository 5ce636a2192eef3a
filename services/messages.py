"""What the service reads and answers: every field with its limits, every message with an example."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, StringConstraints, Tag
from pydantic.config import JsonDict

from feature_repo import schema as s
from feature_repo.event import Event

Id = Annotated[str, StringConstraints(min_length=1, max_length=s.MAX_ID_LENGTH)]
Text = Annotated[str, StringConstraints(max_length=1_000)]

MAX_K = 100
MAX_ITEMS = 100
MAX_EXCLUDE = 1_000
MAX_CATEGORIES = 50
MAX_EVENTS = 1_000


class Step(StrEnum):
    """The rungs of the ladder that an answer can come from, best first."""

    FULL = "full"
    NO_FEATURES = "no_features"
    POPULAR = "popular"


_ASK: JsonDict = {"user_id": "900", "k": 3, "page": "cart", "items": ["1082185"]}
_ANSWER: JsonDict = {
    "items": [
        {"item_id": "1029743", "name": "Fluid Milk White Only", "score": 0.412, "sources": ["own", "als"]},
        {"item_id": "995242", "name": "Fluid Milk White Only", "score": 0.387, "sources": ["own"]},
        {"item_id": "981760", "name": "Eggs - Large", "score": 0.251, "sources": ["neighbours", "sequence"]},
    ],
    "request_id": "5f0c1de1a7a04ccd9f2e1d0c6b9a4a11",
    "model_version": "2hz3xkqyt2ekr6vj",
    "variant": "champion",
    "served_by": "full",
    "user_known": True,
    "unknown_items": [],
}
_EVENT: JsonDict = {"event_id": "c-1", "user_id": "900", "item_id": "1082185", "event_type": "cart"}
_HEALTH: JsonDict = {
    "status": "ok",
    "model_version": "2hz3xkqyt2ekr6vj",
    "online_store": "up",
    "events_waiting": 0,
    "items_as_of": "2017-12-31T11:59:20+00:00",
    "now": "2017-12-31T12:00:00+00:00",
}
_FAILURE: JsonDict = {
    "error": {
        "code": "greater_than_equal",
        "field": "k",
        "message": "k: Input should be greater than or equal to 1",
    }
}


class RecommendRequest(BaseModel):
    """Who asks, from where, and what the answer may hold."""

    # hide_input: ids must not reach the logs. example, in the singular, is what BentoML's OpenAPI page takes over.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, json_schema_extra={"example": _ASK}
    )

    user_id: Id
    k: int = Field(default=10, ge=1, le=MAX_K, strict=True, description="how many items")
    page: Literal["home", "category", "cart"] | None = Field(default=None, description="where the answer is shown")
    context: dict[Id, Text] | None = Field(
        default=None, max_length=50, description="about the moment; on page `category`, `category` filters by it"
    )
    items: list[Id] = Field(
        default=[], max_length=MAX_ITEMS, description="what lies in the cart or on the page; never recommended back"
    )
    exclude: list[Id] = Field(default=[], max_length=MAX_EXCLUDE, description="items that must not be in the answer")
    categories: list[Text] | None = Field(
        default=None, min_length=1, max_length=MAX_CATEGORIES, description="only items of these categories"
    )
    novel_only: bool = Field(default=False, strict=True, description="only items that the user has not bought before")

    @property
    def allowed_categories(self) -> list[str] | None:
        """The categories that the answer is limited to; None: all."""
        if self.categories is None and self.page == "category" and self.context and s.CATEGORY in self.context:
            return [self.context[s.CATEGORY]]
        return self.categories


class RecommendedItem(BaseModel):
    item_id: str
    name: str = Field(description="empty if the catalogue has none")
    score: float = Field(description="higher is better; comparable within one answer")
    sources: list[str] = Field(description="the candidate sources that proposed the item")


class RecommendAnswer(BaseModel):
    """Recommendations, best first; fewer than `k` if the filters leave no more."""

    # model_version would clash with pydantic's own names.
    model_config = ConfigDict(protected_namespaces=(), json_schema_extra={"example": _ANSWER})

    items: list[RecommendedItem]
    request_id: str = Field(description="to be sent along with the events that this answer causes")
    model_version: str
    variant: str = Field(description="which of the models in service answered")
    served_by: Step = Field(description="the rung of the ladder: `full` is the best")
    user_known: bool = Field(description="whether anything is known of the user")
    unknown_items: list[str] = Field(description="those of the request's `items` that the model does not know")


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


class Health(BaseModel):
    """How the service is; `degraded` still answers, from a lower rung."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_extra={"example": _HEALTH})

    status: Literal["ok", "degraded", "down"]
    model_version: str | None
    online_store: Literal["up", "down"]
    events_waiting: int = Field(description="durable events that the features do not know yet")
    items_as_of: str | None = Field(description="as of when the item features are, UTC; null: nobody knows")
    now: str = Field(description="the service's clock, UTC")


class Failure(BaseModel):
    """What is wrong with a request, or with the service."""

    code: str
    field: str | None = Field(description="the field at fault, e.g. `k` or `3.timestamp`; `body` is the whole")
    message: str


class FailureAnswer(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(json_schema_extra={"example": _FAILURE})

    error: Failure
