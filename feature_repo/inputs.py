"""The tables that feature expressions read, cut to a moment. Batch and stream build them with the same code."""

from __future__ import annotations

import ibis
from ibis.expr.types import Table

from feature_repo import schema as s
from feature_repo.feature import AGE_DAYS, EPOCH_S, MOMENT, RECENCY, Input, epoch_us

HISTORY_COLUMNS = (
    s.EVENT_ID,
    s.USER_ID,
    MOMENT,
    s.ITEM_ID,
    s.EVENT_TYPE,
    s.TIMESTAMP,
    s.PRICE,
    s.QUANTITY,
    s.VALUE,
    s.CATEGORY,
)
MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_DAY = 86_400_000_000


def until_moment(events: Table) -> Table:
    """Events not later than their `event_timestamp`, without impressions, with their time as a number and their age."""
    past = events.filter(events[s.TIMESTAMP] <= events[MOMENT], events[s.EVENT_TYPE] != s.IMPRESSION)
    at_us = epoch_us(past[s.TIMESTAMP])
    age_us = epoch_us(past[MOMENT]) - at_us
    return past.mutate(**{EPOCH_S: at_us / MICROSECONDS_PER_SECOND, AGE_DAYS: age_us / MICROSECONDS_PER_DAY})


def past(events: Table) -> Table:
    """The input `events`: all events up to the moment, with the discount read out of the context."""
    events = until_moment(events)
    discount = events[s.CONTEXT].get(s.DISCOUNT, None).try_cast("float64")
    return events.mutate(**{s.DISCOUNT: discount}).drop(s.CONTEXT, s.EVENT_ID)


def history(events: Table) -> Table:
    """The input `history`: each user's newest `HISTORY_EVENTS` events at each moment.

    Events of one time stamp (the rows of one order) are told apart by their ids, so that the same events
    give the same order wherever they come from. A purchase without `value` is worth price times quantity.
    """
    past = until_moment(events.select(*HISTORY_COLUMNS))
    worth = past[s.PRICE] * past[s.QUANTITY].fill_null(1.0)
    worth = ibis.ifelse(past[s.EVENT_TYPE] == s.PURCHASE, worth, ibis.null("float64"))
    past = past.mutate(**{s.VALUE: past[s.VALUE].coalesce(worth)}).drop(s.PRICE, s.QUANTITY)
    order = [ibis.desc(past[s.TIMESTAMP]), past[s.EVENT_ID]]
    recency = ibis.row_number().over(group_by=[s.USER_ID, MOMENT], order_by=order)
    ranked = past.mutate(**{RECENCY: recency})
    return ranked.filter(ranked[RECENCY] < s.HISTORY_EVENTS)


def with_category(events: Table, items: Table, moment: ibis.Value) -> Table:
    """Events with the category that their item had at the moment; null where the item is unknown."""
    known = items.filter(items[s.TIMESTAMP] <= moment)
    newest = ibis.row_number().over(group_by=[s.ITEM_ID], order_by=[ibis.desc(known[s.TIMESTAMP])])
    current = known.select(s.ITEM_ID, s.CATEGORY, newest=newest)
    current = current.filter(current["newest"] == 0).drop("newest")
    return events.left_join(current, s.ITEM_ID).drop(f"{s.ITEM_ID}_right")


def expressions() -> dict[Input, Table]:
    """Every input over unbound tables `events`, `items` and `users`: what an engine cuts, without data."""
    at = ibis.literal(s.BEGINNING).cast("timestamp('UTC', 6)")
    items = ibis.table(ibis.Schema.from_pyarrow(s.ITEMS), name="items")
    events = ibis.table(ibis.Schema.from_pyarrow(s.EVENTS), name="events").mutate(**{MOMENT: at})
    events = with_category(events, items, at)
    users = ibis.table(ibis.Schema.from_pyarrow(s.USERS), name="users")
    return {"history": history(events), "events": past(events), "items": items, "users": users}
