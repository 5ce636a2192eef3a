"""How much, how often and how lately a user does things."""

from __future__ import annotations

from datetime import timedelta

from feast.types import Float64
from ibis.expr.types import Table, Value

from feature_repo.feature import AGE_DAYS, MOMENT, USER, Expect, Feature
from feature_repo.lists import distinct_count
from feature_repo.schema import EVENT_TYPE, ITEM_ID, PURCHASE, TELLING_TYPES, TIMESTAMP, USER_ID, VALUE, WINDOWS_DAYS


def user_activity(history: Table) -> Table:
    """Counts and spend over the windows, recency, and the typical gap between days of purchase.

    The rows of one order share their time stamp, so distinct time stamps of purchases are baskets.
    The gap telescopes: (last day - first day) / (days - 1). Times are epoch seconds.
    """
    bought = history[EVENT_TYPE] == PURCHASE
    second = history[TIMESTAMP].epoch_seconds().cast("float64")
    day = (history[TIMESTAMP].epoch_seconds() / 86_400).floor()
    days = distinct_count(day, where=bought)
    measures: dict[str, Value] = {}
    for window in WINDOWS_DAYS:
        inside = history[AGE_DAYS] < window
        measures |= {
            f"events_{window}d": inside.sum(),
            f"purchases_{window}d": (inside & bought).sum(),
            f"spend_{window}d": history[VALUE].sum(where=inside & bought).fill_null(0.0),
            f"items_{window}d": distinct_count(history[ITEM_ID], where=inside & bought),
        }
    measures |= {
        "baskets_90d": distinct_count(history[TIMESTAMP], where=bought & (history[AGE_DAYS] < 90)),
        "purchase_gap_days": (day.max(where=bought) - day.min(where=bought)) / (days - 1).nullif(0),
        "last_event_at": second.max(),
        **{f"last_{kind}_at": second.max(where=history[EVENT_TYPE] == kind) for kind in TELLING_TYPES},
    }
    return history.group_by(USER_ID, MOMENT).agg(**{name: m.cast("float64") for name, m in measures.items()})


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
