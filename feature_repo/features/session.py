"""What a user did last: the newest events in the order in which they happened."""

from __future__ import annotations

from feast.types import Array, Float64, String
from ibis.expr.types import Table

from feature_repo.feature import EPOCH_S, MOMENT, RECENCY, USER, Expect, Feature
from feature_repo.lists import parallel_lists
from feature_repo.schema import EVENT_TYPE, ITEM_ID, SESSION_EVENTS, USER_ID


def session(history: Table) -> Table:
    """Parallel lists of the last `SESSION_EVENTS` events, newest last; times in epoch seconds."""
    newest = history.filter(history[RECENCY] < SESSION_EVENTS)
    columns = {
        "session_items": newest[ITEM_ID],
        "session_types": newest[EVENT_TYPE],
        "session_times": newest[EPOCH_S],
    }
    return parallel_lists(newest, [USER_ID, MOMENT], [-newest[RECENCY]], columns)


FEATURE = Feature(
    name="session",
    entity=USER,
    reads="history",
    compute=session,
    fields={"session_items": Array(String), "session_types": Array(String), "session_times": Array(Float64)},
    description="The last 50 events",
    expects={"session_times": Expect(at_least=0, null_share=0)},
)
