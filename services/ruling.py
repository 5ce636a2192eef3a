"""The rules of a request, as the model takes them."""

from __future__ import annotations

from models.rules import Fairness, Pin, Rules
from services.messages import Ruled


def rules_of(request: Ruled) -> Rules | None:
    """None: the answer is to be the model's own."""
    rules = Rules(
        diversity=request.diversity,
        pins=tuple(Pin(pin.item_id, pin.place) for pin in request.pin),
        per_category=request.per_category,
        fairness=None if request.fair is None else Fairness(request.fair.by, request.fair.least),
    )
    return None if rules == Rules() else rules
