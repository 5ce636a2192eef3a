"""The contract of the data: every table's columns, written once; nobody types a column's name twice.

Ids are strings here and at every border; they become integers once, in the model's id map.
Time is UTC with microseconds, because Feast's duckdb store fails on nanoseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa

EVENT_ID: Final = "event_id"
USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
EVENT_TYPE: Final = "event_type"
TIMESTAMP: Final = "timestamp"
SESSION_ID: Final = "session_id"
QUANTITY: Final = "quantity"
PRICE: Final = "price"
VALUE: Final = "value"
REQUEST_ID: Final = "request_id"
POSITION: Final = "position"
VARIANT: Final = "variant"
CONTEXT: Final = "context"
BATCH_ID: Final = "batch_id"
"""Which ingest run brought a row in: the first step of every feature's lineage."""

IMPRESSION: Final = "impression"
VIEW: Final = "view"
CLICK: Final = "click"
CART: Final = "cart"
PURCHASE: Final = "purchase"
RATING: Final = "rating"

EVENT_WEIGHTS: Final[dict[str, float]] = {
    IMPRESSION: 0.0, VIEW: 1.0, CLICK: 1.0, RATING: 3.0, CART: 3.0, PURCHASE: 5.0,
}  # fmt: skip
"""How much an event of each type says about liking the item; an impression alone says nothing."""
EVENT_TYPES: Final = tuple(EVENT_WEIGHTS)
TELLING_TYPES: Final = tuple(kind for kind, weight in EVENT_WEIGHTS.items() if weight)
"""The types that features know; an impression is our doing, not the user's."""

BEHAVIOURS: Final = {"browse": VIEW, "click": CLICK, "cart": CART, "purchase": PURCHASE}
"""The short form's `behavior` column and what each value becomes."""

MAX_ID_LENGTH: Final = 128
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No event is older, and a row about an item or user that has no time of its own is true from here on."""
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far ahead of ours a clock may be before its events count as from the future."""

_TIME = pa.timestamp("us", tz="UTC")
_TEXT_MAP = pa.map_(pa.string(), pa.string())

EVENTS: Final = pa.schema(
    [
        pa.field(EVENT_ID, pa.string(), nullable=False),
        pa.field(USER_ID, pa.string(), nullable=False),
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(EVENT_TYPE, pa.string(), nullable=False),
        pa.field(TIMESTAMP, _TIME, nullable=False),
        pa.field(SESSION_ID, pa.string()),
        pa.field(QUANTITY, pa.float64()),
        pa.field(PRICE, pa.float64()),
        pa.field(VALUE, pa.float64()),
        pa.field(REQUEST_ID, pa.string()),
        pa.field(POSITION, pa.int32()),
        pa.field(VARIANT, pa.string()),
        pa.field(CONTEXT, _TEXT_MAP),
        pa.field(BATCH_ID, pa.string()),
    ]
)
"""Grain: one row per event, `event_id` unique over the whole lake."""
REQUIRED: Final = (EVENT_ID, USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP)

DISCOUNT: Final = "discount"
"""Key in `context`: the money taken off, as a decimal number; above 0 the item was bought on discount."""

NAME: Final = "name"
CATEGORY: Final = "category"
SUBCATEGORY: Final = "subcategory"
DEPARTMENT: Final = "department"
BRAND: Final = "brand"
ATTRIBUTES: Final = "attributes"
IN_STOCK: Final = "in_stock"
"""Key in `attributes`: whether the item can be had; `NOT_IN_STOCK` tells which texts say no."""
NOT_IN_STOCK: Final = ("0", "0.0", "false", "f", "no", "n")

ITEMS: Final = pa.schema(
    [
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(NAME, pa.string()),
        pa.field(CATEGORY, pa.string()),
        pa.field(SUBCATEGORY, pa.string()),
        pa.field(DEPARTMENT, pa.string()),
        pa.field(BRAND, pa.string()),
        pa.field(PRICE, pa.float64()),
        pa.field(ATTRIBUTES, _TEXT_MAP),  # whatever else the shop's table holds
        pa.field(TIMESTAMP, _TIME, nullable=False),  # from when on the row is true
    ]
)
"""Grain: one row per item and time from which it is true."""

PROFILE_COLUMNS: Final = (
    "age_group",
    "gender",
    "income_group",
    "household_size",
    "household_type",
    "home_ownership",
    "marital_status",
    "children",
    "occupation",
    "region",
)
USERS: Final = pa.schema(
    [
        pa.field(USER_ID, pa.string(), nullable=False),
        *(pa.field(column, pa.string()) for column in PROFILE_COLUMNS),
        pa.field(ATTRIBUTES, _TEXT_MAP),
        pa.field(TIMESTAMP, _TIME, nullable=False),
    ]
)
"""Grain: one row per user and time from which it is true."""

SESSION_EVENTS: Final = 50
"""How many of a user's newest events are the session."""
HISTORY_EVENTS: Final = 5_000
"""How many of a user's newest events the user features look at, in batch and on the stream alike."""
OWN_ITEMS: Final = 400
"""How many of a user's own items are kept, the ones with most decayed weight first."""
WINDOWS_DAYS: Final = (7, 30, 90)
HALF_LIVES_DAYS: Final = {"fast": 14, "": 90, "slow": 365}
"""Suffix of the feature -> half-life of its decay."""
