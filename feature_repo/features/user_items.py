"""What a user comes back to: the items of one's own, each with its weight at three half-lives."""

from __future__ import annotations

from feast.types import Array, Float64, String
from ibis.expr.types import Table

from feature_repo.feature import AGE_DAYS, EPOCH_S, MOMENT, USER, Expect, Feature, only_if
from feature_repo.lists import TIE_DIGITS, parallel_lists
from feature_repo.schema import (
    EVENT_TYPE,
    EVENT_WEIGHTS,
    HALF_LIVES_DAYS,
    ITEM_ID,
    OWN_ITEMS,
    PURCHASE,
    USER_ID,
)

DECAYS = {f"own_decayed_{suffix}".rstrip("_"): days for suffix, days in HALF_LIVES_DAYS.items()}


def user_items(history: Table) -> Table:
    """Parallel lists over the user's `OWN_ITEMS` items with most weight (90-day half-life), heaviest first.

    An item never purchased has NaN as its last purchase, as lists in Feast hold no nulls.
    """
    bought = history[EVENT_TYPE] == PURCHASE
    second = history[EPOCH_S]
    weight = history[EVENT_TYPE].cases(*EVENT_WEIGHTS.items(), else_=0.0).cast("float64")
    items = history.group_by(USER_ID, MOMENT, ITEM_ID).agg(
        own_purchases=bought.sum().cast("float64"),
        own_first_at=second.min(),
        own_last_at=second.max(),
        own_last_purchase_at=only_if(bought, second).max().fill_null(float("nan")),
        **{name: (weight * 0.5 ** (history[AGE_DAYS] / days)).sum() for name, days in DECAYS.items()},
    )
    items = items.rename(own_items=ITEM_ID)
    order = [-items["own_decayed"].round(TIE_DIGITS), items["own_items"]]
    return parallel_lists(items, [USER_ID, MOMENT], order, {name: items[name] for name in FIELDS}, OWN_ITEMS)


FIELDS = {
    "own_items": Array(String),
    "own_purchases": Array(Float64),
    "own_first_at": Array(Float64),
    "own_last_at": Array(Float64),
    "own_last_purchase_at": Array(Float64),
    **dict.fromkeys(DECAYS, Array(Float64)),
}
FEATURE = Feature(
    name="user_items",
    entity=USER,
    reads="history",
    compute=user_items,
    fields=FIELDS,
    description="The user's own items with purchases, first and last time, and decayed weight",
    expects={
        **dict.fromkeys(("own_purchases", "own_first_at", "own_last_at", *DECAYS), Expect(at_least=0, null_share=0)),
        "own_last_purchase_at": Expect(at_least=0),
    },
)
