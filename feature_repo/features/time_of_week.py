"""The week's rhythm: how busy each of its 168 hours is, and what is bought then."""

from __future__ import annotations

from datetime import timedelta

import ibis
from feast.types import Array, Float64, String
from ibis.expr.types import Table

from feature_repo.feature import HOUR_OF_WEEK, MOMENT, TIME_OF_WEEK, Expect, Feature
from feature_repo.lists import parallel_lists
from feature_repo.schema import CATEGORY, TIMESTAMP

TOP_CATEGORIES = 10


def time_of_week(events: Table) -> Table:
    """One row for each of the 168 hours, quiet ones included. `intensity` is 1 in an average hour."""
    hour = events[TIMESTAMP].day_of_week.index() * 24 + events[TIMESTAMP].hour()
    timed = events.mutate(**{HOUR_OF_WEEK: hour.cast("int64"), CATEGORY: events[CATEGORY].fill_null("")})
    counts = timed.group_by(MOMENT, HOUR_OF_WEEK, CATEGORY).agg(n=timed.count())
    in_hour = counts["n"].sum().over(group_by=[MOMENT, HOUR_OF_WEEK])
    in_week = counts["n"].sum().over(group_by=[MOMENT])
    named = counts[CATEGORY] != ""
    order = [ibis.desc(named), ibis.desc(counts["n"]), counts[CATEGORY]]
    ranked = counts.mutate(
        intensity=in_hour / in_week * 168.0,
        share=counts["n"] / in_hour,
        rank=ibis.row_number().over(group_by=[MOMENT, HOUR_OF_WEEK], order_by=order),
    )
    busy = ranked.group_by(MOMENT, HOUR_OF_WEEK).agg(intensity=ranked["intensity"].max())
    top = ranked.filter(ranked["rank"] < TOP_CATEGORIES, ranked[CATEGORY] != "")
    columns = {"top_categories": top[CATEGORY], "top_category_shares": top["share"]}
    bought = parallel_lists(top, [MOMENT, HOUR_OF_WEEK], [top["rank"]], columns)
    hours = events.select(MOMENT).distinct().mutate(**{HOUR_OF_WEEK: ibis.range(168)}).unnest(HOUR_OF_WEEK)
    hours = hours.mutate(**{HOUR_OF_WEEK: hours[HOUR_OF_WEEK].cast("int64")})
    rows = hours.left_join(busy, [MOMENT, HOUR_OF_WEEK])
    rows = rows.left_join(bought, [MOMENT, HOUR_OF_WEEK], rname="{name}_bought")
    return rows.mutate(intensity=rows["intensity"].fill_null(0.0))


FEATURE = Feature(
    name="time_of_week",
    entity=TIME_OF_WEEK,
    reads="events",
    compute=time_of_week,
    fields={"intensity": Float64, "top_categories": Array(String), "top_category_shares": Array(Float64)},
    description="How busy each hour of the week is, and the categories bought then",
    ttl=timedelta(days=90),  # another season
    expects={
        "intensity": Expect(at_least=0, at_most=168, null_share=0),
        "top_category_shares": Expect(at_least=0, at_most=1),
    },
)
