"""Recommendations: for a user, for many at once, for an item's page, for a cart."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from feature_repo import schema as s
from feature_repo.event import Id
from services.messages.common import (
    MAX_ITEMS,
    MAX_REQUESTS,
    OPTIONAL_USER,
    ModelAnswer,
    RecommendedItem,
    Request,
    Text,
)
from services.messages.examples import ABOUT, EGGS, ITEM, MILK, USER, YOGURT
from services.messages.filtered import Filtered

_ASK: JsonDict = {"user_id": USER, "k": 3, "page": "cart", "items": [ITEM]}
_ANSWER: JsonDict = {"items": [MILK, YOGURT, EGGS], **ABOUT, "unknown_items": []}


class RecommendRequest(Filtered):
    """Who asks, from where, and what the answer may hold."""

    model_config = ConfigDict(json_schema_extra={"example": _ASK})

    user_id: Id
    page: Literal["home", "category", "cart"] | None = Field(default=None, description="where the answer is shown")
    context: dict[Id, Text] | None = Field(
        default=None, max_length=50, description="about the moment; on page `category`, `category` filters by it"
    )
    items: list[Id] = Field(
        default=[], max_length=MAX_ITEMS, description="what lies in the cart or on the page; never recommended back"
    )
    probabilities: bool = Field(
        default=False, strict=True, description="say of each item how likely it is taken; costs the model's time again"
    )

    @property
    def allowed_categories(self) -> list[str] | None:
        """The categories that the answer is limited to; None: all."""
        if self.categories is None and self.page == "category" and self.context and s.CATEGORY in self.context:
            return [self.context[s.CATEGORY]]
        return super().allowed_categories


class RecommendAnswer(ModelAnswer):
    """Recommendations, best first; fewer than `k` if the filters leave no more."""

    model_config = ConfigDict(json_schema_extra={"example": _ANSWER})

    items: list[RecommendedItem]
    unknown_items: list[str] = Field(
        description="those of the request's items, pinned ones among them, that the model does not know"
    )
    probability_days: float | None = Field(
        default=None,
        exclude_if=lambda days: days is None,
        description="within how many days the items' `probabilities` come true; only where there are any",
    )


class BatchRequest(Request):
    """Several recommendation requests at once; if one of them is wrong, none is answered."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"requests": [{"user_id": USER, "k": 3}, {"user_id": "901", "k": 3}]}}
    )

    requests: Annotated[list[RecommendRequest], Field(min_length=1, max_length=MAX_REQUESTS)]


class BatchAnswer(BaseModel):
    """One answer per request, in their order."""

    model_config = ConfigDict(json_schema_extra={"example": {"answers": [_ANSWER, _ANSWER]}})

    answers: list[RecommendAnswer]


class SimilarRequest(Filtered):
    """An item's page asks for items like it."""

    model_config = ConfigDict(json_schema_extra={"example": {"item_id": ITEM, "user_id": USER, "k": 3}})

    item_id: Id
    user_id: Id | None = Field(default=None, description=OPTIONAL_USER)


class CartRequest(Filtered):
    """A cart asks for what goes well with what lies in it."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [ITEM, "981760"], "user_id": USER, "k": 3}})

    items: list[Id] = Field(
        min_length=1, max_length=MAX_ITEMS, description="what lies in the cart; never recommended back"
    )
    user_id: Id | None = Field(default=None, description=OPTIONAL_USER)
