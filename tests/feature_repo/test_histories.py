"""A user's history after any order of arrival: as if all events had come in time, and as it is stored."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo import schema as s
from feature_repo.histories import EventRow, History
from feature_repo.online_values import python_value

START = datetime(2024, 1, 1, tzinfo=UTC)
CAP = 6

Arrival = tuple[int, int, str | None, float | None]
"""Number of the event, second, category and value."""
arrivals = st.tuples(
    st.integers(0, 30), st.integers(0, 5), st.sampled_from([None, "x", "y"]), st.one_of(st.none(), st.floats(0, 9))
)


def row(arrival: Arrival) -> EventRow:
    number, second, category, value = arrival
    return {
        s.USER_ID: "u",
        s.EVENT_ID: f"e{number:02}",
        s.ITEM_ID: f"i{number % 7}",
        s.EVENT_TYPE: s.VIEW,
        s.TIMESTAMP: START + timedelta(seconds=second),
        s.VALUE: value,
        s.CATEGORY: category,
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(arrivals, max_size=4), max_size=12), st.sets(st.integers(0, 11)))
def test_any_order_of_arrival(batches: list[list[Arrival]], read_again: set[int]) -> None:
    """Late, tied and repeated events, more than are kept; read back from the store in between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s, "HISTORY_EVENTS", CAP)
        history, expected = History.empty(), []
        for step, batch in enumerate(batches):
            history = history.with_events([row(arrival) for arrival in batch], START)
            expected = newest(expected, [row(arrival) for arrival in batch])
            assert history.events.to_pylist() == expected
            assert stored(history) == lists(expected)
            if step in read_again:
                history = History.from_online("u", {n: parsed(v) for n, v in history.online().items()}, history.moment)


def newest(known: list[EventRow], arrived: list[EventRow]) -> list[EventRow]:
    rows = {**{r[s.EVENT_ID]: r for r in reversed(arrived)}, **{r[s.EVENT_ID]: r for r in known}}
    in_order = sorted(rows.values(), key=lambda r: r[s.EVENT_ID], reverse=True)
    return sorted(in_order, key=lambda r: r[s.TIMESTAMP])[-CAP:]


def parsed(value: Any) -> Value:
    return Value.FromString(value.SerializeToString())


def stored(history: History) -> list[tuple[Any, ...]]:
    row = {name: python_value(parsed(value)) or [] for name, value in history.online().items()}
    values = [None if math.isnan(value) else value for value in row["history_values"]]
    return list(zip(row["history_ids"], row["history_times"], row["history_categories"], values, strict=True))


def lists(rows: list[EventRow]) -> list[tuple[Any, ...]]:
    return [(r[s.EVENT_ID], r[s.TIMESTAMP].timestamp() * 1e6, r[s.CATEGORY] or "", r[s.VALUE]) for r in rows]
