"""What a shop may ask of an answer beyond its order: diverse, capped, pinned, fair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.errors import RuleError
from models.vocabulary import ITEM_CATEGORICALS


@dataclass(frozen=True)
class Pin:
    """An item that the shop wants shown."""

    item_id: str
    place: int | None = None
    """From 1; None: the first place that no other pin takes."""


@dataclass(frozen=True)
class Fairness:
    """A floor under the exposure of item groups."""

    by: str
    """What makes a group: one of `ITEM_CATEGORICALS`."""
    least: float
    """0..1: a group's share of the answer's exposure is at least this part of its share among the candidates."""


@dataclass(frozen=True)
class Rules:
    """How an answer departs from the model's order. As it stands, it does not.

    Raises:
        RuleError: a value is outside its bounds.
    """

    diversity: float = 0.0
    """0..1: how much it counts that an item differs from those above it, against its score."""
    pins: tuple[Pin, ...] = ()
    """Shown even where the model does not propose them, but nothing that the request or the stock rules out,
    or that the user has just bought and does not need yet."""
    per_category: int | None = None
    """At most so many items of one category, pinned ones among them; items without a category are not counted."""
    fairness: Fairness | None = None
    """None: groups get what the scores give them."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.diversity <= 1.0:
            raise RuleError(f"diversity: {self.diversity!r}, expected a number from 0 to 1")
        if self.per_category is not None and self.per_category < 1:
            raise RuleError(f"per_category: {self.per_category!r}, expected a whole number of at least 1")
        for pin in self.pins:
            if pin.place is not None and pin.place < 1:
                raise RuleError(f"pins: place {pin.place!r} of {pin.item_id!r}, expected a whole number of at least 1")
        if self.fairness is not None:
            if self.fairness.by not in ITEM_CATEGORICALS:
                raise RuleError(f"fairness.by: {self.fairness.by!r}, expected one of {', '.join(ITEM_CATEGORICALS)}")
            if not 0.0 <= self.fairness.least <= 1.0:
                raise RuleError(f"fairness.least: {self.fairness.least!r}, expected a number from 0 to 1")

    def as_dict(self) -> dict[str, Any]:
        """Made of plain data."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Rules:
        """The reverse of `as_dict`.

        Raises:
            TypeError: it has a field that this code does not know.
        """
        fairness = content.get("fairness")
        parts = {
            "pins": tuple(Pin(**pin) for pin in content.get("pins", ())),
            "fairness": fairness and Fairness(**fairness),
        }
        return cls(**{**content, **parts})
