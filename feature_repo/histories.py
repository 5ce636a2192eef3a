"""Users' histories as the stream path holds them: the input `history`, cut for the users of a few events.

A history is an Arrow table of the user's newest events, oldest first. What the online store has is read once and kept
as long as the store's row is the one that we wrote or read: its moment and its size tell.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import DoubleList, StringList, Value

from feature_repo import schema as s
from feature_repo.event import Event
from feature_repo.feature import AGE_DAYS, EPOCH_S, MOMENT, RECENCY
from feature_repo.inputs import MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND
from feature_repo.online_values import python_value

_TIME = pa.timestamp("us", tz="UTC")
EVENTS: Final = pa.schema(
    [
        (s.USER_ID, pa.string()),
        (s.EVENT_ID, pa.string()),
        (s.ITEM_ID, pa.string()),
        (s.EVENT_TYPE, pa.string()),
        (s.TIMESTAMP, _TIME),
        (s.VALUE, pa.float64()),
        (s.CATEGORY, pa.string()),
    ]
)
"""What does not change about an event as time goes by."""
INPUT: Final = pa.schema(
    [
        *EVENTS,
        (MOMENT, _TIME),
        (EPOCH_S, pa.float64()),
        (AGE_DAYS, pa.float64()),
        (RECENCY, pa.int64()),
    ]
)
"""The input `history`, as the compiled expressions read it."""
CACHED_EVENTS: Final = 2_000_000
"""About 700 MB; past that the users longest without an event are read again when they return."""
CHUNKS: Final = 32
"""An event more is a chunk more; past this they are made one."""
_LISTS: Final = tuple(f"history_{name}" for name in ("ids", "items", "types", "categories", "times", "values"))
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


EventRow = dict[str, Any]
"""One event by the columns of `EVENTS`."""


class Serialized(bytes):
    """A value of a list feature as it is stored. Appending to the list is appending bytes: where a protobuf message
    stands twice, its repeated fields add up (https://protobuf.dev/programming-guides/encoding/#last-one-wins)."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - takes the place of a protobuf message
        return bytes(self)


@dataclass(frozen=True)
class History:
    """One user's newest events, oldest first, and the moment for which the online features were computed."""

    events: pa.Table
    moment: datetime
    ids: frozenset[str]
    newest: Sequence[EventRow]
    """The last rows of `events`, which may yet be joined by others of their time stamp, as the rows of one order
    share theirs, and then take another order."""
    lists: Mapping[str, bytes]
    """The features of the view `history` over all but the newest events, as they are stored, so that an event more
    costs no second encoding of all."""

    @classmethod
    def of(cls, events: pa.Table, moment: datetime) -> History:
        times = _times(events)
        settled = int(np.searchsorted(times, times[-1])) if len(times) else 0
        newest = events.slice(settled).to_pylist()
        ids = frozenset(events[s.EVENT_ID].to_pylist())
        return cls(events, moment, ids, newest, _encoded(_table_columns(events.slice(0, settled))))

    @classmethod
    def empty(cls) -> History:
        return cls.of(EVENTS.empty_table(), s.BEGINNING)

    @classmethod
    def from_row(cls, user: str, row: Mapping[str, Any], moment: datetime) -> History:
        """From the plain values of a row of the view `history`."""
        return cls.of(_events(user, row), moment)

    @classmethod
    def from_online(cls, user: str, row: Mapping[str, Value], moment: datetime) -> History:
        """From a row of the view `history` as it is stored, which is kept for the next writing."""
        events = _events(user, {name: python_value(value) for name, value in row.items()})
        lists = {name: row[name].SerializeToString() for name in _LISTS}
        return cls(events, moment, frozenset(events[s.EVENT_ID].to_pylist()), (), lists)

    def online(self) -> dict[str, Value]:
        """The row of the view `history`."""
        newest = _encoded(_row_columns(self.newest))
        lists = {name: cast(Value, Serialized(stored + newest[name])) for name, stored in self.lists.items()}
        return {"history_size": Value(double_val=self.events.num_rows), **lists}

    def with_events(self, arrived: Sequence[EventRow], now: datetime) -> History:
        """The history after some events, as of `now`, or of the newest event if that is later.

        Events that it has already change nothing; of two with one id the first counts. Late ones take their place.
        The moment never goes back, as an online row of an earlier moment would be refused: a clock that ran backwards
        stands still instead.
        """
        fresh = list({row[s.EVENT_ID]: row for row in reversed(arrived) if row[s.EVENT_ID] not in self.ids}.values())
        if not fresh:
            return replace(self, moment=max(now, self.moment))
        moment = max(now, self.moment, *(row[s.TIMESTAMP] for row in fresh))
        settled = self.events.slice(0, self.events.num_rows - len(self.newest))
        rows = sorted([*self.newest, *fresh], key=itemgetter(s.EVENT_ID), reverse=True)
        rows.sort(key=itemgetter(s.TIMESTAMP))  # the order of `inputs.history`, the other way round
        events = pa.concat_tables([settled, pa.Table.from_pylist(rows, schema=EVENTS)])
        if events.num_rows > s.HISTORY_EVENTS or (settled and rows[0][s.TIMESTAMP] <= settled[s.TIMESTAMP][-1].as_py()):
            order = [(s.TIMESTAMP, "ascending"), (s.EVENT_ID, "descending")]
            events = events.take(pc.sort_indices(events, sort_keys=order)).combine_chunks()
            return History.of(events.slice(max(events.num_rows - s.HISTORY_EVENTS, 0)), moment)
        if events[s.EVENT_ID].num_chunks > CHUNKS:
            events = events.combine_chunks()
        newest = [row for row in rows if row[s.TIMESTAMP] == rows[-1][s.TIMESTAMP]]
        added = _encoded(_row_columns(rows[: -len(newest)]))
        lists = {name: stored + added[name] for name, stored in self.lists.items()}
        return History(events, moment, self.ids.union(row[s.EVENT_ID] for row in fresh), newest, lists)

    def columns_at_moment(self) -> tuple[np.ndarray[Any, Any], ...]:
        """The columns that `INPUT` has beside `EVENTS`, the moment in epoch microseconds."""
        times = _times(self.events)
        moment = (self.moment - _EPOCH) // _MICROSECOND
        age_days = (moment - times) / MICROSECONDS_PER_DAY
        return np.full(len(times), moment), times / MICROSECONDS_PER_SECOND, age_days, np.arange(len(times))[::-1]


def history_input(histories: Iterable[History]) -> pa.Table:
    """The input `history` of several users, each as of the user's own moment."""
    histories = list(histories)
    # Made one piece, as engines read piece by piece.
    events = pa.concat_tables([history.events for history in histories]).combine_chunks()
    moment, *numbers = (
        np.concatenate(column) for column in zip(*(h.columns_at_moment() for h in histories), strict=True)
    )
    return pa.table([*events.columns, pa.array(moment, _TIME), *map(pa.array, numbers)], schema=INPUT)


def event_rows(events: Iterable[Event], categories: Mapping[str, str | None]) -> dict[str, list[EventRow]]:
    """Events that have their time as history rows, by user. A purchase without value is worth price times quantity,
    as in `inputs.history`."""
    by_user: dict[str, list[EventRow]] = {}
    for event in events:
        worth = event.value
        if worth is None and event.event_type == s.PURCHASE and event.price is not None:
            worth = event.price * (1.0 if event.quantity is None else event.quantity)
        row = {
            s.USER_ID: event.user_id,
            s.EVENT_ID: event.event_id,
            s.ITEM_ID: event.item_id,
            s.EVENT_TYPE: event.event_type,
            s.TIMESTAMP: event.timestamp,
            s.VALUE: worth,
            s.CATEGORY: categories.get(event.item_id),
        }
        by_user.setdefault(event.user_id, []).append(row)
    return by_user


class HistoryCache:
    """The histories used last, up to `CACHED_EVENTS` events in all."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, History] = OrderedDict()
        self._events = 0

    def get(self, user: str, moment: datetime | None, size: float | None) -> History | None:
        """The user's history if it is the one that the online store holds; None if that must be read."""
        if moment is None:
            return History.empty()
        held = self._held.get(user)
        if held is None or held.moment != moment or held.events.num_rows != size:
            return None
        self._held.move_to_end(user)
        return held

    def put(self, user: str, history: History) -> None:
        before = self._held.pop(user, None)
        self._held[user] = history
        self._events += history.events.num_rows - (before.events.num_rows if before else 0)
        while self._events > CACHED_EVENTS and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._events -= oldest.events.num_rows


def _events(user: str, row: Mapping[str, Any]) -> pa.Table:
    """Events from the lists of the view `history`; undoes the stand-ins for null that lists in Feast need."""
    ids, items, types, categories, times, values = ([] if row[name] is None else row[name] for name in _LISTS)
    values = np.asarray(values, np.float64)
    columns = [
        pa.array([user] * len(ids), pa.string()),
        pa.array(ids, pa.string()),
        pa.array(items, pa.string()),
        pa.array(types, pa.string()),
        pa.array(np.asarray(times, np.float64).astype(np.int64), _TIME),
        pa.array(values, mask=np.isnan(values)),
        pa.array([category or None for category in categories], pa.string()),
    ]
    return pa.table(columns, schema=EVENTS)


def _times(events: pa.Table) -> np.ndarray[Any, Any]:
    """Epoch microseconds."""
    return events[s.TIMESTAMP].cast(pa.int64()).to_numpy()


Columns = Sequence[Sequence[Any]]
"""Ids, items, types, categories, times in epoch microseconds and values, as the lists of the view `history` have them:
an unknown category is the empty string, an unknown value NaN."""


def _table_columns(events: pa.Table) -> Columns:
    texts = (events[s.EVENT_ID], events[s.ITEM_ID], events[s.EVENT_TYPE], events[s.CATEGORY].fill_null(""))
    numbers = (_times(events).astype(np.float64), events[s.VALUE].to_numpy())
    # As lists of Python's numbers, which protobuf takes ten times as fast as numpy's.
    return [*(column.to_pylist() for column in texts), *(column.tolist() for column in numbers)]


def _row_columns(rows: Sequence[EventRow]) -> Columns:
    ids, items, types = ([row[name] for row in rows] for name in (s.EVENT_ID, s.ITEM_ID, s.EVENT_TYPE))
    categories = [row[s.CATEGORY] or "" for row in rows]
    times = [float((row[s.TIMESTAMP] - _EPOCH) // _MICROSECOND) for row in rows]
    return [ids, items, types, categories, times, [math.nan if row[s.VALUE] is None else row[s.VALUE] for row in rows]]


def _encoded(columns: Columns) -> dict[str, bytes]:
    """The lists of the view `history`, as its expression gives them."""
    *texts, times, values = columns
    messages = [
        *(Value(string_list_val=StringList(val=column)) for column in texts),
        *(Value(double_list_val=DoubleList(val=column)) for column in (times, values)),
    ]
    return {name: message.SerializeToString() for name, message in zip(_LISTS, messages, strict=True)}
