"""What every request for recommendations may ask of the answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from feature_repo.event import WHOLE, Id
from services.messages.common import MAX_CATEGORIES, MAX_EXCLUDE, MAX_K, Text
from services.messages.rules import Ruled


class Filtered(Ruled):
    """What every request for recommendations may ask of the answer."""

    k: Annotated[int, Field(ge=1, le=MAX_K, strict=True), WHOLE] = Field(default=10, description="how many items")
    exclude: list[Id] = Field(default=[], max_length=MAX_EXCLUDE, description="items that must not be in the answer")
    categories: list[Text] | None = Field(
        default=None, min_length=1, max_length=MAX_CATEGORIES, description="only items of these categories"
    )
    novel_only: bool = Field(default=False, strict=True, description="only items that the user has not bought before")

    @property
    def allowed_categories(self) -> list[str] | None:
        """The categories that the answer is limited to; None: all."""
        return self.categories
