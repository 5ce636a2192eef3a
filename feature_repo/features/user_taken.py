"""What a user already took: by these ids, and nothing else, an item is told to be new to the user."""

from __future__ import annotations

from feast.types import Array, String
from ibis.expr.types import Table

from feature_repo.feature import MOMENT, USER, Feature
from feature_repo.lists import field_of, sorted_structs
from feature_repo.schema import EVENT_TYPE, ITEM_ID, PURCHASE, USER_ID


def user_taken(history: Table) -> Table:
    """The different items of the user's history: all of them, and those bought; in the order of their ids."""
    items = history.group_by(USER_ID, MOMENT, ITEM_ID).agg(bought=(history[EVENT_TYPE] == PURCHASE).any())
    users = items.group_by(USER_ID, MOMENT).agg(taken=sorted_structs(item=items[ITEM_ID], bought=items["bought"]))
    bought = users["taken"].filter(lambda taken: taken["bought"])
    return users.mutate(seen_items=field_of(users["taken"], "item"), bought_items=field_of(bought, "item"))


FEATURE = Feature(
    name="user_taken",
    entity=USER,
    reads="history",
    compute=user_taken,
    fields={"seen_items": Array(String), "bought_items": Array(String)},
    description="The ids of all items that the user had to do with, and of those bought",
)
