"""What the messages' examples are made of: the demo's household 900 and some of its groceries."""

from __future__ import annotations

from pydantic.config import JsonDict

USER = "900"
ITEM = "1082185"
MILK: JsonDict = {"item_id": "1029743", "name": "Fluid Milk White Only", "score": 0.412, "sources": ["own", "als"]}
YOGURT: JsonDict = {"item_id": "995242", "name": "Yogurt", "score": 0.387, "sources": ["own"]}
EGGS: JsonDict = {
    "item_id": "981760",
    "name": "Eggs - Large",
    "score": 0.251,
    "sources": ["neighbours", "sequence"],
}
ABOUT: JsonDict = {
    "request_id": "5f0c1de1a7a04ccd9f2e1d0c6b9a4a11",
    "model_version": "2hz3xkqyt2ekr6vj",
    "variant": "champion",
    "served_by": "full",
    "user_known": True,
}
"""What every answer of the model tells about itself."""
