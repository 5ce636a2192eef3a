"""What the stream path starts from: a user's newest events, kept online so that an arriving event joins them."""

from __future__ import annotations

from feast.types import Array, Float64, String
from ibis.expr.types import Table

from feature_repo.feature import MOMENT, RECENCY, USER, Expect, Feature, epoch_us
from feature_repo.lists import parallel_lists
from feature_repo.schema import CATEGORY, EVENT_ID, EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID, VALUE


def history(history: Table) -> Table:
    """Parallel lists of the user's newest events, newest last; times in epoch microseconds
    (whole numbers, which float64 holds exactly).

    `history_size` is their length: with the row's moment it tells cheaply whether a history has changed.
    An unknown category is the empty string and an unknown value NaN, as lists in Feast hold no nulls.
    """
    columns = {
        "history_ids": history[EVENT_ID],
        "history_items": history[ITEM_ID],
        "history_types": history[EVENT_TYPE],
        "history_times": epoch_us(history[TIMESTAMP]).cast("float64"),
        "history_values": history[VALUE].fill_null(float("nan")),
        "history_categories": history[CATEGORY].fill_null(""),
    }
    lists = parallel_lists(history, [USER_ID, MOMENT], [-history[RECENCY]], columns)
    return lists.mutate(history_size=lists["history_ids"].length().cast("float64"))


FEATURE = Feature(
    name="history",
    entity=USER,
    reads="history",
    compute=history,
    fields={
        "history_size": Float64,
        "history_ids": Array(String),
        "history_items": Array(String),
        "history_types": Array(String),
        "history_times": Array(Float64),
        "history_values": Array(Float64),
        "history_categories": Array(String),
    },
    description="The newest events, for the stream path to add to",
    expects={"history_size": Expect(at_least=0, null_share=0), "history_times": Expect(at_least=0, null_share=0)},
    trained_on=False,
)
