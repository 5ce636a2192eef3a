"""How an item sells: windows of popularity, its price beside its category's, how often on discount."""

from __future__ import annotations

from feast.types import Float64
from ibis.expr.types import Table

from feature_repo.feature import AGE_DAYS, ITEM, MOMENT, Feature
from feature_repo.schema import (
    CATEGORY,
    DISCOUNT,
    EVENT_TYPE,
    ITEM_ID,
    PRICE,
    PURCHASE,
    TIMESTAMP,
    USER_ID,
    WINDOWS_DAYS,
)


def item_popularity(events: Table) -> Table:
    """One row per item ever seen. Price and discount look at the last 90 days; `price_level` is the item's
    mean price over its category's; `first_seen_at` is in epoch seconds."""
    bought = events[EVENT_TYPE] == PURCHASE
    recent = events[AGE_DAYS] < 90
    month = events[AGE_DAYS] < 30
    items = events.group_by(ITEM_ID, MOMENT, CATEGORY).agg(
        **{
            f"purchases_{window}d": (bought & (events[AGE_DAYS] < window)).sum().cast("float64")
            for window in WINDOWS_DAYS
        },
        events_30d=month.sum().cast("float64"),
        buyers_30d=events[USER_ID].nunique(where=bought & month).cast("float64"),
        buyers_90d=events[USER_ID].nunique(where=bought & recent).cast("float64"),
        price_mean=events[PRICE].mean(where=recent),
        discount_share=(events[DISCOUNT].fill_null(0.0) > 0).cast("float64").mean(where=bought & recent),
        first_seen_at=events[TIMESTAMP].epoch_seconds().cast("float64").min(),
    )
    in_category = items["price_mean"].mean().over(group_by=[MOMENT, CATEGORY])
    return items.mutate(price_level=items["price_mean"] / in_category.nullif(0))


FEATURE = Feature(
    name="item_popularity",
    entity=ITEM,
    reads="events",
    compute=item_popularity,
    fields={
        **{f"purchases_{window}d": Float64 for window in WINDOWS_DAYS},
        **dict.fromkeys(
            ("events_30d", "buyers_30d", "buyers_90d", "price_mean", "price_level", "discount_share", "first_seen_at"),
            Float64,
        ),
    },
    description="Purchases over 7, 30 and 90 days, buyers, price level, share bought on discount",
)
