"""How an answer may depart from the model's order: the shop's rules, which every request for recommendations takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from feature_repo.event import WHOLE, Id
from services.messages.common import MAX_K, Request

MAX_PINS = 20


class Pin(Request):
    """An item that the shop wants shown."""

    item_id: Id
    place: Annotated[int, Field(ge=1, le=MAX_K, strict=True), WHOLE] | None = Field(
        default=None, description="from 1, beyond `k`: not in this answer; null: the first place that is free"
    )


class Fair(Request):
    """A floor under how much attention groups of items get."""

    by: Literal["category", "subcategory", "department", "brand"] = Field(description="what makes a group")
    least: float = Field(
        ge=0,
        le=1,
        strict=True,
        allow_inf_nan=False,
        description="a group's share of the answer's exposure is at least this part of its share among the candidates",
    )


class Ruled(Request):
    """The rules that an answer keeps to. As they stand, it is the model's own, of what is in stock."""

    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        strict=True,
        allow_inf_nan=False,
        description="0: best first; the nearer to 1, the more an item has to differ from those above it",
    )
    per_category: Annotated[int, Field(ge=1, le=MAX_K, strict=True), WHOLE] | None = Field(
        default=None, description="at most so many items of one category, pinned ones among them"
    )
    pin: list[Pin] = Field(
        default=[],
        max_length=MAX_PINS,
        description="items to be shown, proposed or not; what the filters or the stock rule out, or what the user "
        "has just bought, stays out, a repeated one counts once",
    )
    fair: Fair | None = Field(default=None, description="null: groups get what the scores give them")
    in_stock_only: bool = Field(default=True, strict=True, description="without what is known to be out of stock")
