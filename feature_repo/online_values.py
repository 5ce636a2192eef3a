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
from feast.type_map import python_values_to_proto_values
from feast.types import Array, FeastType, Float64, String

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
    """Rows from the values of the join key, the moment and the features, column by column."""
    keys, moments, *values = columns
    encoded = [_encoded(column, kind) for column, kind in zip(values, types.values(), strict=True)]
    for key, at, *row in zip(keys, moments, *encoded, strict=True):
        yield entity_key(join_key, key), dict(zip(types, row, strict=True)), at, None


def column_values(column: np.ndarray[Any, Any]) -> list[Any]:
    """The values of a column as DuckDB gives it to numpy: its lists are arrays, its times are UTC without saying so."""
    values = column.tolist()  # of a masked array, None where it is masked
    if column.dtype.kind == "M":
        return [None if at is None else at.replace(tzinfo=UTC) for at in values]
    if column.dtype.kind == "O":
        return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
    return values


def python_value(value: Value) -> Any:
    """What an online value holds: a number, a text, a list, or None."""
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    held = getattr(value, kind)
    return list(held.val) if kind.endswith("_list_val") else held


def _encoded(values: Sequence[Any], kind: FeastType) -> list[Value]:
    fast = _ENCODERS.get(kind)
    if fast is None:
        return python_values_to_proto_values(values, kind.to_value_type())
    return [_NULL if value is None or value != value else fast(value) for value in values]


_NULL: Final = Value()
_ENCODERS: Final[dict[FeastType, Callable[[Any], Value]]] = {
    Float64: lambda value: Value(double_val=value),
    String: lambda value: Value(string_val=value),
    Array(String): lambda values: Value(string_list_val=StringList(val=values)),
    Array(Float64): lambda values: Value(double_list_val=DoubleList(val=values)),
}
"""The types of Kairos' own features; others go Feast's way."""
