"""What goes wrong with deliveries: ways to spoil a month's events, or the table of items that comes with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo import schema as s

DAY_US: Final = 86_400_000_000
HOUR_US: Final = 3_600_000_000
_TIME: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Month:
    """One delivery.

    Attributes:
        events: raw, as the connector has them.
        items: the shop's table of items.
    """

    events: pa.Table
    items: pa.Table | None

    def with_column(self, name: str, values: pa.ChunkedArray | pa.Array) -> Month:
        at = self.events.column_names.index(name)
        return Month(self.events.set_column(at, name, values), self.items)

    def only(self, kept: np.ndarray) -> Month:
        """bool [rows]"""
        return Month(self.events.filter(pa.array(kept)), self.items)

    def with_rows(self, more: pa.Table) -> Month:
        """Further events, each with an id of its own."""
        ids = pa.array([f"more-{n}" for n in range(more.num_rows)])
        more = more.set_column(more.column_names.index(s.EVENT_ID), s.EVENT_ID, ids)
        return Month(pa.concat_tables([self.events, more]), self.items)

    @property
    def at_us(self) -> np.ndarray:
        """int64 [rows]"""
        return np.asarray(self.events[s.TIMESTAMP].cast(pa.int64()))


Spoil = Callable[[Month, np.random.Generator], Month]


def share(month: Month, draw: np.random.Generator, part: float) -> np.ndarray:
    """bool [rows], so many of them true."""
    return draw.random(month.events.num_rows) < part


def some(month: Month, draw: np.random.Generator, rows: int) -> pa.Table:
    return month.events.take(pa.array(draw.integers(0, month.events.num_rows, rows)))


def week_missing(month: Month, draw: np.random.Generator) -> Month:
    day = (month.at_us - month.at_us.min()) // DAY_US
    return month.only((day < 9) | (day >= 16))


def half_missing(month: Month, draw: np.random.Generator) -> Month:
    return month.only(share(month, draw, 0.5))


def cut_off(month: Month, draw: np.random.Generator) -> Month:
    return month.only(month.at_us < (month.at_us.min() + month.at_us.max()) // 2)


def twice(month: Month, draw: np.random.Generator) -> Month:
    return month.with_rows(month.events.filter(pa.array(share(month, draw, 0.2))))


def other_zone(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.TIMESTAMP, pa.array(month.at_us - 7 * HOUR_US, _TIME))


def milliseconds(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.TIMESTAMP, pa.array(month.at_us // 1_000))


def clock_stands(month: Month, draw: np.random.Generator) -> Month:
    """Of the second half of the month."""
    times = month.at_us
    return month.with_column(s.TIMESTAMP, pa.array(np.minimum(times, np.median(times).astype(np.int64)), _TIME))


def in_cents(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.PRICE, pc.multiply(month.events[s.PRICE], 100.0))


def one_price(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.PRICE, pa.repeat(1.0, month.events.num_rows))


def no_price(month: Month, draw: np.random.Generator) -> Month:
    return _emptied(month, s.PRICE, draw)


def no_user(month: Month, draw: np.random.Generator) -> Month:
    return _emptied(month, s.USER_ID, draw)


def sign_flipped(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.QUANTITY, pc.negate(month.events[s.QUANTITY]))


def other_type(month: Month, draw: np.random.Generator) -> Month:
    other = share(month, draw, 0.3)
    return month.with_column(
        s.EVENT_TYPE, pc.if_else(pa.array(other), pa.scalar(s.VIEW), month.events[s.EVENT_TYPE].combine_chunks())
    )


def other_users(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.USER_ID, pc.binary_join_element_wise("u", month.events[s.USER_ID], "-"))


def items_cut_short(month: Month, draw: np.random.Generator) -> Month:
    return month.with_column(s.ITEM_ID, pc.utf8_slice_codeunits(month.events[s.ITEM_ID], 0, 5))


def category_renamed(month: Month, draw: np.random.Generator) -> Month:
    """The one that most events are in."""
    assert month.items is not None
    categories = month.items.select([s.ITEM_ID, s.CATEGORY])
    counted = (
        month.events.select([s.ITEM_ID]).join(categories, s.ITEM_ID).group_by(s.CATEGORY).aggregate([([], "count_all")])
    )
    largest = counted.sort_by([("count_all", "descending")])[s.CATEGORY][0]
    names = month.items[s.CATEGORY].combine_chunks()
    renamed = pc.if_else(pc.fill_null(pc.equal(names, largest), False), pa.scalar("RENAMED"), names)
    at = month.items.column_names.index(s.CATEGORY)
    return Month(month.events, month.items.set_column(at, s.CATEGORY, renamed))


def one_bot(month: Month, draw: np.random.Generator) -> Month:
    """A user with a hundred times as many events as others have."""
    users = len(month.events[s.USER_ID].unique())
    rows = some(month, draw, 100 * month.events.num_rows // users)
    user = pa.repeat(month.events[s.USER_ID][0].as_py(), rows.num_rows)
    return month.with_rows(rows.set_column(rows.column_names.index(s.USER_ID), s.USER_ID, user))


def many_bots(month: Month, draw: np.random.Generator) -> Month:
    """New users, an event each, all of one item: a tenth of the events."""
    rows = some(month, draw, month.events.num_rows // 9)
    for name, values in (
        (s.USER_ID, pa.array([f"bot-{n}" for n in range(rows.num_rows)])),
        (s.ITEM_ID, pa.repeat(month.events[s.ITEM_ID][0].as_py(), rows.num_rows)),
    ):
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return month.with_rows(rows)


def _emptied(month: Month, column: str, draw: np.random.Generator) -> Month:
    """A fifth of the values."""
    values = month.events[column].combine_chunks()
    return month.with_column(
        column, pc.if_else(pa.array(share(month, draw, 0.2)), pa.scalar(None, values.type), values)
    )


@dataclass(frozen=True)
class Fault:
    """A way to spoil a month, and what should notice it.

    Attributes:
        noticed_by: measures, or rules of the validation, that are meant for it: another one's alarm does not count.
        withheld: the share of the month before that comes with this month instead.
    """

    spoil: Spoil
    noticed_by: Sequence[str]
    withheld: float = 0.0


def as_it_is(month: Month, draw: np.random.Generator) -> Month:
    return month


FAULTS: Final = {
    "a fifth comes a month late": Fault(as_it_is, ("older than what was known",), withheld=0.2),
    "a week is missing": Fault(week_missing, ("days without events",)),
    "half of the rows are missing": Fault(half_missing, ("events a day",)),
    "the file ends in the middle of the month": Fault(cut_off, ("events",)),
    "a fifth comes twice, with other ids": Fault(twice, ("equal rows with other ids",)),
    "times in another zone, 7 hours off": Fault(other_zone, ("distance: hours", "older than what was known")),
    "times in milliseconds": Fault(milliseconds, ("timestamp_in_seconds",)),
    "the clock stands from the middle of the month on": Fault(clock_stands, ("distance: hours", "events")),
    "prices in cents": Fault(in_cents, ("distance: price",)),
    "one price for everything": Fault(one_price, ("distance: price",)),
    "a fifth has no price": Fault(no_price, ("nulls: price",)),
    "a fifth has no user": Fault(no_user, ("user_id_required",)),
    "quantities with the other sign": Fault(sign_flipped, ("quantity_not_negative",)),
    "a third of the purchases are views": Fault(other_type, ("share of events: view",)),
    "other ids for all users": Fault(other_users, ("of new users",)),
    "ids of items cut to five characters": Fault(items_cut_short, ("of new items",)),
    "a category has another name": Fault(category_renamed, ("in new categories",)),
    "a bot under one name": Fault(one_bot, ("share of the busiest user",)),
    "many bots on one item": Fault(many_bots, ("share of the busiest item", "of new users", "events per user")),
}
