"""How much, how often and how lately a user does things."""

from __future__ import annotations

from datetime import timedelta

from feast.types import Float64
from ibis.expr.types import Table, Value

from feature_repo.feature import AGE_DAYS, EPOCH_S, MOMENT, USER, Expect, Feature, only_if
from feature_repo.schema import EVENT_TYPE, ITEM_ID, PURCHASE, TELLING_TYPES, USER_ID, VALUE, WINDOWS_DAYS

KEYS = (USER_ID, MOMENT)


def user_activity(history: Table) -> Table:
    """Counts and spend over the windows, recency, and the typical gap between days of purchase.

    The rows of one order share their time stamp, so distinct time stamps of purchases are baskets.
    The gap telescopes: (last day - first day) / (days - 1). Times are epoch seconds.
    """
    joined = _events(history)
    for part in (_items(_bought(history, ITEM_ID)), _days(_bought(history, EPOCH_S))):
        joined = joined.left_join(part, KEYS).drop(*(f"{key}_right" for key in KEYS))
    gap = (joined["last_day"] - joined["first_day"]) / (joined["days"] - 1).nullif(0)
    counts = (*(f"items_{window}d" for window in WINDOWS_DAYS), "baskets_90d")
    return joined.mutate(
        **{name: joined[name].fill_null(0).cast("float64") for name in counts}, purchase_gap_days=gap.cast("float64")
    )


# Different values are counted by grouping twice: an aggregate of distinct values costs DuckDB more than all else when
# an event's one user is computed.


def _bought(history: Table, column: str) -> Table:
    """Only what one reader needs: DuckDB would write down what two share before either goes on."""
    columns = history.select(*KEYS, EVENT_TYPE, AGE_DAYS, column)
    return columns.filter(columns[EVENT_TYPE] == PURCHASE)


def _events(history: Table) -> Table:
    bought = history[EVENT_TYPE] == PURCHASE
    second = history[EPOCH_S]
    measures: dict[str, Value] = {
        "last_event_at": second.max(),
        **{f"last_{kind}_at": only_if(history[EVENT_TYPE] == kind, second).max() for kind in TELLING_TYPES},
    }
    for window in WINDOWS_DAYS:
        inside = history[AGE_DAYS] < window
        measures |= {
            f"events_{window}d": inside.sum(),
            f"purchases_{window}d": (inside & bought).sum(),
            f"spend_{window}d": only_if(inside & bought, history[VALUE]).sum().fill_null(0.0),
        }
    return history.group_by(*KEYS).agg(**{name: m.cast("float64") for name, m in measures.items()})


def _items(bought: Table) -> Table:
    items = bought.group_by(*KEYS, ITEM_ID).agg(age=bought[AGE_DAYS].min())
    return items.group_by(*KEYS).agg(**{f"items_{window}d": (items["age"] < window).sum() for window in WINDOWS_DAYS})


def _days(bought: Table) -> Table:
    baskets = bought.group_by(*KEYS, EPOCH_S).agg(age=bought[AGE_DAYS].min())
    baskets = baskets.mutate(day=(baskets[EPOCH_S] / 86_400).floor())
    days = baskets.group_by(*KEYS, "day").agg(baskets=(baskets["age"] < 90).sum())
    return days.group_by(*KEYS).agg(
        baskets_90d=days["baskets"].sum(), days=days.count(), first_day=days["day"].min(), last_day=days["day"].max()
    )


FEATURE = Feature(
    name="user_activity",
    entity=USER,
    reads="history",
    compute=user_activity,
    fields={
        **{f"{what}_{d}d": Float64 for d in WINDOWS_DAYS for what in ("events", "purchases", "spend", "items")},
        "baskets_90d": Float64,
        "purchase_gap_days": Float64,
        "last_event_at": Float64,
        **{f"last_{kind}_at": Float64 for kind in TELLING_TYPES},
    },
    description="Counts, spend and distinct items over 7, 30 and 90 days; recency of each event; purchase gap",
    ttl=timedelta(days=30),  # the windows have moved on
    expects={
        **{
            f"{what}_{d}d": Expect(at_least=0, null_share=0)
            for d in WINDOWS_DAYS
            for what in ("events", "purchases", "items")
        },
        # Returns count with what they are worth, so spend has no floor.
        **{f"spend_{d}d": Expect(null_share=0) for d in WINDOWS_DAYS},
        "spend_30d": Expect(null_share=0, drift=0.5),
        "baskets_90d": Expect(at_least=0, null_share=0),
        "purchase_gap_days": Expect(at_least=1),
        "last_event_at": Expect(at_least=0, null_share=0),
        **{f"last_{kind}_at": Expect(at_least=0) for kind in TELLING_TYPES},
    },
)
