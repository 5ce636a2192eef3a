"""How much of a user's attention each category has: the user × category affinity, packed into one row a user."""

from __future__ import annotations

import ibis
from feast.types import Array, Float64, String
from ibis.expr.types import Table

from feature_repo.feature import AGE_DAYS, MOMENT, USER, Expect, Feature
from feature_repo.lists import TIE_DIGITS, parallel_lists
from feature_repo.schema import CATEGORY, EVENT_TYPE, EVENT_WEIGHTS, HALF_LIVES_DAYS, USER_ID

CATEGORIES = 50
"""Kept per user; one read at request time instead of one per category."""


def user_affinity(history: Table) -> Table:
    """Parallel lists: the categories with most decayed weight and the share of all weight that each has."""
    weight = history[EVENT_TYPE].cases(*EVENT_WEIGHTS.items(), else_=0.0).cast("float64")
    decayed = weight * 0.5 ** (history[AGE_DAYS] / HALF_LIVES_DAYS[""])
    known = history.mutate(decayed=decayed).filter(history[CATEGORY].notnull())
    by_category = known.group_by(USER_ID, MOMENT, CATEGORY).agg(decayed=known["decayed"].sum())
    whole = ibis.window(group_by=[USER_ID, MOMENT])
    order = [ibis.desc(by_category["decayed"].round(TIE_DIGITS)), by_category[CATEGORY]]
    shares = by_category.mutate(
        share=by_category["decayed"] / by_category["decayed"].sum().over(whole).nullif(0),
        rank=ibis.row_number().over(group_by=[USER_ID, MOMENT], order_by=order),
    )
    shares = shares.filter(shares["rank"] < CATEGORIES, shares["share"].notnull())
    columns = {"categories": shares[CATEGORY], "category_shares": shares["share"]}
    return parallel_lists(shares, [USER_ID, MOMENT], shares["rank"], columns)


FEATURE = Feature(
    name="user_affinity",
    entity=USER,
    reads="history",
    compute=user_affinity,
    fields={"categories": Array(String), "category_shares": Array(Float64)},
    description="The user's share of decayed weight per category, strongest first",
    expects={"category_shares": Expect(at_least=0, at_most=1, null_share=0, drift=0.5)},
)
