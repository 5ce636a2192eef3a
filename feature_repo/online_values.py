"""Arrow columns to Feast's protobuf values and back, as Feast's own materialisation has them: null and NaN are empty
values, except in lists. Feast's conversion goes by pandas and costs milliseconds per row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, StringList, Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import Array, FeastType, Float64, String

from feature_repo.errors import UnheldValueError
from feature_repo.online_store.base import Row


def entity_key(join_key: str, value: str | int) -> EntityKey:
    """The key of an entity that is told by one string, or by one whole number."""
    typed = Value(string_val=value) if isinstance(value, str) else Value(int64_val=value)
    return EntityKey(join_keys=[join_key], entity_values=[typed])


def rows_of(table: pa.Table, join_key: str, moment: str, types: Mapping[str, FeastType]) -> Iterator[Row]:
    """A view's computed rows in the form that the online stores write."""
    columns = [table[name].to_pylist() for name in (join_key, moment, *types)]
    return encoded_rows(columns, join_key, types)


def encoded_rows(columns: Sequence[Sequence[Any]], join_key: str, types: Mapping[str, FeastType]) -> Iterator[Row]:
    """Rows from the values of the join key, the moment and the features, column by column.

    Raises:
        UnheldValueError: a value is not of its field's type.
    """
    keys, moments, *values = columns
    encoded = [_encoded(name, column, kind) for column, (name, kind) in zip(values, types.items(), strict=True)]
    for key, at, *row in zip(keys, moments, *encoded, strict=True):
        yield entity_key(join_key, key), dict(zip(types, row, strict=True)), at, None


def column_values(column: np.ndarray[Any, Any]) -> list[Any]:
    """The values of a column as DuckDB gives it to numpy: its lists are arrays, its times are UTC without saying so."""
    values = column.tolist()  # of a masked array, None where it is masked
    if column.dtype.kind == "M":
        return [None if at is None else at.replace(tzinfo=UTC) for at in values]
    first = next((value for value in values if value is not None), None)
    if isinstance(first, np.ndarray):
        return [None if value is None else column_values(value) for value in values]
    if isinstance(first, bytearray):
        return [None if value is None else bytes(value) for value in values]
    return values


def python_value(value: Value) -> Any:
    """What an online value holds: a number, a text, a list, or None."""
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    held = getattr(value, kind)
    return list(held.val) if kind.endswith("_list_val") else held


def feast_value(value: Value) -> Any:
    """What Feast's own online read makes of a value; of the types of Kairos' own features several times faster."""
    decode = _DECODERS.get(value.WhichOneof("val"))
    return feast_value_type_to_python_type(value) if decode is None else decode(value)


def _encoded(name: str, values: Sequence[Any], kind: FeastType) -> list[Value]:
    fast = _ENCODERS.get(kind)
    try:
        if fast is None:
            return python_values_to_proto_values(values, kind.to_value_type())
        return [_NULL if value is None or value != value else fast(value) for value in values]
    except (TypeError, ValueError) as error:
        raise UnheldValueError(
            f"feature {name}: a value is not of the type {kind}, as declared: {error}. Lists hold no nulls: fill them "
            f"in the expression, or leave such rows out"
        ) from error


_NULL: Final = Value()
_ENCODERS: Final[dict[FeastType, Callable[[Any], Value]]] = {
    Float64: lambda value: Value(double_val=value),
    String: lambda value: Value(string_val=value),
    Array(String): lambda values: Value(string_list_val=StringList(val=values)),
    Array(Float64): lambda values: Value(double_list_val=DoubleList(val=values)),
}
"""The types of Kairos' own features; others go Feast's way."""
_DECODERS: Final[dict[str | None, Callable[[Value], Any]]] = {
    None: lambda value: None,
    "double_val": lambda value: value.double_val,
    "int64_val": lambda value: value.int64_val,
    "string_val": lambda value: value.string_val,
    "double_list_val": lambda value: value.double_list_val.val[:],
    "string_list_val": lambda value: value.string_list_val.val[:],
}
