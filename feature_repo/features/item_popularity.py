"""How an item sells: windows of popularity, decayed popularity and its trend, its price beside its category's, how
often on discount."""

from __future__ import annotations

from datetime import timedelta

from feast.types import Float64
from ibis.expr.types import Table

from feature_repo.feature import AGE_DAYS, EPOCH_S, ITEM, MOMENT, Expect, Feature, epoch_us
from feature_repo.inputs import MICROSECONDS_PER_DAY
from feature_repo.schema import (
    CATEGORY,
    DISCOUNT,
    EVENT_TYPE,
    EVENT_WEIGHTS,
    ITEM_ID,
    PRICE,
    PURCHASE,
    USER_ID,
    WINDOWS_DAYS,
)

HALF_LIVES_DAYS = (3, 14, 60)
"""Of the decayed weight of all events on the item, an event's weight by its type."""
FAST, SLOW = 3, 14
"""Half-lives whose rates the trend compares."""
DECAYED = tuple(f"decayed_{days}d" for days in HALF_LIVES_DAYS)


def item_popularity(events: Table) -> Table:
    """One row per item ever seen. Price and discount look at the last 90 days; `price_level` is the item's
    mean price over its category's; `first_seen_at` is in epoch seconds. `trend` is the item's weight per day lately
    over that of a longer while: above 1 it rises.

    The decay counts to the last full hour, so that the row of an item to which nothing happens stays as it is within
    the hour, and need not be written every minute.
    """
    bought = events[EVENT_TYPE] == PURCHASE
    recent = events[AGE_DAYS] < 90
    month = events[AGE_DAYS] < 30
    weight = events[EVENT_TYPE].cases(*EVENT_WEIGHTS.items(), else_=0.0).cast("float64")
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
        **{f"decayed_{days}d": (weight * 0.5 ** (events[AGE_DAYS] / days)).sum() for days in HALF_LIVES_DAYS},
        first_seen_at=events[EPOCH_S].min(),
    )
    in_category = items["price_mean"].mean().over(group_by=[MOMENT, CATEGORY])
    into_hour_us = epoch_us(items[MOMENT]) - epoch_us(items[MOMENT].truncate("h"))
    into_hour = into_hour_us / MICROSECONDS_PER_DAY
    items = items.mutate(
        **{name: items[name] * 2.0 ** (into_hour / days) for name, days in zip(DECAYED, HALF_LIVES_DAYS, strict=True)}
    )
    # A weight that halves every h days, kept up at r per day, comes to h / ln 2 times r.
    slow_rate = items[f"decayed_{SLOW}d"] / SLOW
    return items.mutate(
        price_level=items["price_mean"] / in_category.nullif(0),
        trend=items[f"decayed_{FAST}d"] / FAST / slow_rate.nullif(0),
    )


FEATURE = Feature(
    name="item_popularity",
    entity=ITEM,
    reads="events",
    compute=item_popularity,
    fields={
        **{f"purchases_{window}d": Float64 for window in WINDOWS_DAYS},
        **dict.fromkeys((*DECAYED, "trend"), Float64),
        **dict.fromkeys(
            ("events_30d", "buyers_30d", "buyers_90d", "price_mean", "price_level", "discount_share", "first_seen_at"),
            Float64,
        ),
    },
    description="Purchases over 7, 30 and 90 days, decayed weight and trend, buyers, price level, share on discount",
    ttl=timedelta(days=30),  # the windows have moved on
    expects={
        **dict.fromkeys(
            (*(f"purchases_{window}d" for window in WINDOWS_DAYS), *DECAYED, "events_30d", "buyers_30d", "buyers_90d"),
            Expect(at_least=0, null_share=0),
        ),
        # An item of which every event is new comes to 14 / 3.
        "trend": Expect(at_least=0, at_most=5),
        # Nothing is known of the price of an item that was not sold lately.
        **dict.fromkeys(("price_mean", "price_level"), Expect(at_least=0, drift=0.5)),
        "discount_share": Expect(at_least=0, at_most=1, drift=0.5),
        "first_seen_at": Expect(at_least=0, null_share=0),
    },
)
