"""The event contract at the border: what is taken, and how a refusal names the field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from feature_repo import schema as s
from feature_repo.event import Event, to_arrow

GOOD: dict[str, Any] = {"user_id": "u", "item_id": "i", "event_type": "cart"}
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""),
        ("user_id", "x" * 300),
        ("item_id", None),
        ("event_type", "browse"),
        ("timestamp", "2024-01-01T00:00:00"),  # no zone
        ("timestamp", "yesterday"),
        ("price", -1),
        ("quantity", float("nan")),
        ("position", -1),
        ("surprise", 1),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Event(**GOOD | {field: value})
    assert caught.value.errors()[0]["loc"] == (field,)


def test_missing_id_and_time_are_filled_in() -> None:
    event = Event(**GOOD)
    assert event.event_id
    assert event.at(NOW).timestamp == NOW


def test_the_table_has_the_contracts_schema() -> None:
    event = Event(**GOOD | {"event_type": "purchase", "price": 2.5, "quantity": 2, "context": {"page": "home"}}).at(NOW)
    table = to_arrow([event])
    assert table.schema == s.EVENTS
    assert table[s.PRICE].to_pylist() == [2.5]
    assert table[s.CONTEXT].to_pylist() == [[("page", "home")]]
