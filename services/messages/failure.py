"""The one shape of every answer that is not a success, and the closed list of its codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_FAILURE: JsonDict = {
    "error": {"code": "out_of_range", "field": "k", "message": "k: Input should be greater than or equal to 1"}
}


class Code(StrEnum):
    """What is wrong, for programs. A code never changes its meaning; new ones may come with a new version."""

    INVALID_JSON = "invalid_json"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    WRONG_LENGTH = "wrong_length"
    OUT_OF_RANGE = "out_of_range"
    INVALID_VALUE = "invalid_value"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_MANY_REQUESTS = "too_many_requests"
    INTERNAL = "internal"
    NOT_AVAILABLE = "not_available"
    TIMEOUT = "timeout"


_NUMBERS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
_LENGTHS = ("string_too_short", "string_too_long", "too_short", "too_long")
_TYPES = (
    "model_type", "model_attributes_type", "string_type", "int_type", "int_from_float", "int_parsing", "float_type",
    "float_parsing", "bool_type", "bool_parsing", "list_type", "dict_type", "datetime_type", "string_sub_type",
)  # fmt: skip

CODES: Final[Mapping[str, Code]] = {
    "json_invalid": Code.INVALID_JSON,
    "missing": Code.MISSING_FIELD,
    "extra_forbidden": Code.UNKNOWN_FIELD,
    **dict.fromkeys(_NUMBERS, Code.OUT_OF_RANGE),
    **dict.fromkeys(_LENGTHS, Code.WRONG_LENGTH),
    **dict.fromkeys(_TYPES, Code.WRONG_TYPE),
    Code.TIMESTAMP_OUT_OF_RANGE.value: Code.TIMESTAMP_OUT_OF_RANGE,
}
"""Pydantic's name of an error -> ours; every other one is an `invalid_value`."""


class Failure(BaseModel):
    """What is wrong with a request, or with the service."""

    code: Code
    field: str | None = Field(description="the field at fault, e.g. `k` or `3.timestamp`; `body` is the whole")
    message: str = Field(description="for people; its wording may change")


class FailureAnswer(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(json_schema_extra={"example": _FAILURE})

    error: Failure
