"""Given items in the order that suits a user."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from feature_repo.event import Id
from services.messages.common import MAX_RANKED, OPTIONAL_USER, ModelAnswer, Request
from services.messages.examples import ABOUT, EGGS, MILK, USER


class RankRequest(Request):
    """Items that the client chose, e.g. what its search found."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"user_id": USER, "items": ["981760", "1029743", "no-such-item"]}}
    )

    user_id: Id | None = Field(default=None, description=OPTIONAL_USER)
    items: Annotated[
        list[Id],
        Field(min_length=1, max_length=MAX_RANKED, description="what is to be ordered; a repeated one counts once"),
    ]


class RankedItem(BaseModel):
    """One of the request's items."""

    item_id: str
    name: str = Field(description="the id where the catalogue has none")
    score: float | None = Field(description="higher is better; null: the model does not know the item")
    sources: list[str] = Field(description="the candidate sources that propose the item")


class RankAnswer(ModelAnswer):
    """All of the request's items, best first; those that the model does not know come last, in the order given."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [
                    MILK,
                    EGGS,
                    {"item_id": "no-such-item", "name": "no-such-item", "score": None, "sources": []},
                ],
                **ABOUT,
                "unknown_items": ["no-such-item"],
            }
        }
    )

    items: list[RankedItem]
    unknown_items: list[str] = Field(description="those of the request's items that the model does not know")
