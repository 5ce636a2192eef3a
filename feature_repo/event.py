"""One event as it arrives from outside, checked against the contract."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

import pyarrow as pa
from pydantic import (
    AfterValidator,
    AllowInfNan,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from feature_repo import schema as s

_FILLED: Final = r"[^\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
"""Something but spaces (Unicode's category Zs): what is left by DuckDB's `trim`, by which ingest knows a blank."""
_OF_LOG: Final = object()
"""Context of what was acknowledged already, by whatever rules there were then"""


def _filled(value: str, info: ValidationInfo) -> str:
    """Ingest would reject the row of an event with a blank id: better told to whoever sends it."""
    if info.context is not _OF_LOG and not re.search(_FILLED, value):
        raise PydanticCustomError("blank", "Input should have a character that is no space")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=s.MAX_ID_LENGTH)]
FilledId = Annotated[Id, AfterValidator(_filled), Field(json_schema_extra={"pattern": _FILLED})]
Number = Annotated[float, Strict(), AllowInfNan(False)]


def _whole(value: object) -> object:
    """JSON has one kind of number: 3.0 is the integer 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_number(value: object) -> object:
    """A number says neither its unit nor its zone."""
    if isinstance(value, int | float):
        raise PydanticCustomError("datetime_type", "Input should be a valid datetime, as a string in ISO 8601")
    return value


WHOLE = BeforeValidator(_whole)
"""Stands last in an annotation: what comes before it goes into the JSON schema."""
EventType = Literal["impression", "view", "click", "cart", "purchase", "rating"]


class Event(BaseModel):
    """Something that somebody did. `event_id` is the idempotency key: the same id again changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: FilledId = Field(
        default_factory=lambda: uuid.uuid4().hex, description="idempotency key; made up if missing"
    )
    user_id: FilledId
    item_id: FilledId
    event_type: EventType
    timestamp: Annotated[AwareDatetime, BeforeValidator(_no_number)] | None = Field(
        default=None, description="ISO 8601 with zone, from 1970 until now; the time of arrival if missing"
    )
    session_id: Id | None = None
    quantity: Number | None = Field(default=None, ge=0)
    price: Number | None = Field(default=None, ge=0)
    value: Number | None = None
    request_id: Id | None = Field(default=None, description="the answer that showed the item")
    position: Annotated[int, Field(ge=0, le=100_000, strict=True), WHOLE] | None = None
    variant: Id | None = None
    context: dict[Id, Annotated[str, StringConstraints(max_length=1_000)]] | None = Field(default=None, max_length=50)

    @classmethod
    def of_log(cls, body: str | bytes) -> Self:
        """An event as a log has it, in JSON."""
        return cls.model_validate_json(body, context=_OF_LOG)

    def at(self, now: datetime) -> Event:
        """The event with its time, which is `now` if it came without."""
        return self if self.timestamp else self.model_copy(update={"timestamp": now})


def to_arrow(events: Iterable[Event]) -> pa.Table:
    """Events that have their time as a table of the contract's schema, `batch_id` empty."""
    rows = []
    for event in events:
        row = event.model_dump()
        assert event.timestamp is not None
        row[s.TIMESTAMP] = event.timestamp.astimezone(UTC)
        row[s.CONTEXT] = list(event.context.items()) if event.context else None
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=s.EVENTS)
