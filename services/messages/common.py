"""What the messages share: limits, and what every request and answer of the model has."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=1_000)]

MAX_K = 100
MAX_ITEMS = 100
MAX_RANKED = 1_000
MAX_EXCLUDE = 1_000
MAX_CATEGORIES = 50
MAX_EVENTS = 1_000
MAX_REQUESTS = 100

OPTIONAL_USER = "shapes the answer if given; a user nobody knows is no error"


class Step(StrEnum):
    """The rungs of the ladder that an answer can come from, best first."""

    FULL = "full"
    NO_FEATURES = "no_features"
    CACHED = "cached"
    POPULAR = "popular"


class Request(BaseModel):
    """What a client sends: nothing beyond its fields."""

    # hide_input: ids must not reach the logs.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ModelAnswer(BaseModel):
    """What every answer of the model tells about itself."""

    # model_version would clash with pydantic's own names.
    model_config = ConfigDict(protected_namespaces=())

    request_id: str = Field(description="to be sent along with the events that this answer causes")
    model_version: str
    variant: str = Field(description="which of the models in service answered")
    served_by: Step = Field(description="the rung of the ladder: `full` is the best")
    user_known: bool = Field(description="whether anything is known of the user")


class RecommendedItem(BaseModel):
    """One item of an answer."""

    item_id: str
    name: str = Field(description="the id where the catalogue has none")
    score: float = Field(description="higher is better; comparable within one answer")
    sources: list[str] = Field(description="the candidate sources that proposed the item; `pinned` first if a rule did")
    probabilities: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda asked: asked is None,
        description="where the request asks for them: head (`click`, `cart`, `purchase`) -> how likely it is that the "
        "user does that with the item within `probability_days`; empty: nothing can be said",
    )
