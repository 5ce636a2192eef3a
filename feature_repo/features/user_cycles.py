"""How regularly a user comes back to a category: the purchase cycle of each."""

from __future__ import annotations

from feast.types import Array, Float64, String
from ibis.expr.types import Table

from feature_repo.feature import EPOCH_S, MOMENT, USER, Expect, Feature
from feature_repo.lists import parallel_lists
from feature_repo.schema import CATEGORY, EVENT_TYPE, PURCHASE, USER_ID

CATEGORIES = 50
"""Kept per user: those bought on most days."""
FIELDS = {
    "cycle_categories": Array(String),
    "cycle_days": Array(Float64),
    "cycle_gap_days": Array(Float64),
    "cycle_last_at": Array(Float64),
}


def user_cycles(history: Table) -> Table:
    """Parallel lists over the categories bought on at least two days: on how many, the mean gap between them in
    days, and the last purchase in epoch seconds. The gap telescopes: (last day - first day) / (days - 1).

    A category is due when the time since its last purchase comes near its gap.
    """
    bought = history.filter(history[EVENT_TYPE] == PURCHASE, history[CATEGORY].notnull())
    bought = bought.mutate(day=(bought[EPOCH_S] / 86_400).floor().cast("float64"))
    days = bought.group_by(USER_ID, MOMENT, CATEGORY, bought["day"]).agg(last=bought[EPOCH_S].max())
    cycles = days.group_by(USER_ID, MOMENT, CATEGORY).agg(
        cycle_days=days.count().cast("float64"),
        span=days["day"].max() - days["day"].min(),
        cycle_last_at=days["last"].max(),
    )
    cycles = cycles.filter(cycles["cycle_days"] > 1).rename(cycle_categories=CATEGORY)
    cycles = cycles.mutate(cycle_gap_days=cycles["span"] / (cycles["cycle_days"] - 1))
    order = [-cycles["cycle_days"], cycles["cycle_categories"]]
    return parallel_lists(cycles, [USER_ID, MOMENT], order, {name: cycles[name] for name in FIELDS}, CATEGORIES)


FEATURE = Feature(
    name="user_cycles",
    entity=USER,
    reads="history",
    compute=user_cycles,
    fields=FIELDS,
    description="Purchase cycle of each category that the user bought on more than one day",
    expects={
        "cycle_days": Expect(at_least=2, null_share=0),
        "cycle_gap_days": Expect(at_least=1, null_share=0),
        "cycle_last_at": Expect(at_least=0, null_share=0),
    },
)
