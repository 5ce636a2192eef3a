"""How much of a user's attention each category has: the user × category affinity, packed into one row a user."""

from __future__ import annotations

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
    order = [-by_category["decayed"].round(TIE_DIGITS), by_category[CATEGORY]]
    columns = {"categories": by_category[CATEGORY], "weights": by_category["decayed"]}
    whole = {"all_weight": by_category["decayed"].sum()}
    lists = parallel_lists(by_category, [USER_ID, MOMENT], order, columns, CATEGORIES, whole)
    lists = lists.filter(lists["all_weight"] > 0)
    return lists.mutate(category_shares=lists["weights"].map(lambda weight: weight / lists["all_weight"]))


FEATURE = Feature(
    name="user_affinity",
    entity=USER,
    reads="history",
    compute=user_affinity,
    fields={"categories": Array(String), "category_shares": Array(Float64)},
    description="The user's share of decayed weight per category, strongest first",
    expects={"category_shares": Expect(at_least=0, at_most=1, null_share=0, drift=0.5)},
)
