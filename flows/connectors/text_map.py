"""Columns side by side -> one map of text per row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def text_map(columns: Mapping[str, pa.Array | pa.ChunkedArray], rows: int) -> pa.MapArray:
    """A map column with one entry per non-null value.

    Args:
        columns: key -> values, each of length `rows`; cast to text.
        rows: number of rows, needed when there are no columns.

    Returns:
        map<string, string> [rows]; a row without any value has an empty map.
    """
    keys = list(columns)
    parts = [as_text(columns[key]) for key in keys]
    flat = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
    order = np.arange(len(flat)).reshape(len(keys), rows).T.ravel()  # column-major -> row-major
    present = ~np.asarray(flat.is_null())[order]
    per_row = present.reshape(rows, len(keys)).sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(per_row)]).astype(np.int32)
    names = np.tile(np.arange(len(keys), dtype=np.int32), rows)[present]
    return pa.MapArray.from_arrays(
        pa.array(offsets),
        pa.array(keys, pa.string()).take(pa.array(names)),
        flat.take(pa.array(order[present])),
    )


def as_text(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of strings; nested values are written as JSON, so that they can be read back."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # no chunk at all
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_nested(array.type):
        is_map = pa.types.is_map(array.type)
        return pa.array([_as_json(value, is_map) for value in array.to_pylist()], pa.string())
    return pc.cast(array, pa.string())


def _as_json(value: Any, is_map: bool) -> str | None:
    if value is None:
        return None
    return json.dumps(dict(value) if is_map else value, ensure_ascii=False, default=str)
