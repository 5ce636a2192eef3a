"""Two tables of features compared value by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

RELATIVE = 1e-9
"""How far two floats may be apart: the engines add up in different orders."""
EXAMPLES = 5
PLACE = "place in its table"


@dataclass
class Comparison:
    """How two tables compare. A list counts as as many values as it has; null and NaN equal themselves alone."""

    rows: int = 0
    values: int = 0
    differences: int = 0
    largest_relative: float = 0.0
    """Of the floats that count as equal."""
    examples: list[str] = field(default_factory=list)

    def differ(self, count: int, example: str) -> None:
        self.differences += count
        if count and len(self.examples) < EXAMPLES:
            self.examples.append(example)


def compare(ours: pa.Table, theirs: pa.Table, keys: Sequence[str]) -> Comparison:
    """Compare rows with equal `keys`, whatever the order of rows and columns.

    A row or column that one of them lacks and a type that is not the same count as differences, each of their values.
    """
    result = Comparison(rows=ours.num_rows)
    columns = sorted({*ours.column_names, *theirs.column_names} - set(keys))
    ours, theirs = _matched(ours, theirs, keys, result)
    for name in columns:
        types = [t.schema.field(name).type if name in t.column_names else None for t in (ours, theirs)]
        if types[0] != types[1]:
            result.values += ours.num_rows
            result.differ(ours.num_rows, f"{name}: {types[0]} and {types[1]}")
            continue
        places = ours.select(keys)
        _compare(name, places, ours[name].combine_chunks(), theirs[name].combine_chunks(), result)
    return result


def _matched(ours: pa.Table, theirs: pa.Table, keys: Sequence[str], result: Comparison) -> tuple[pa.Table, pa.Table]:
    """The rows that both have, in one order; the others are counted, and those whose keys another row has."""
    places = [_places(ours, keys), _places(theirs, keys)]
    both = places[0].join(places[1], list(keys), join_type="inner", right_suffix=" of theirs")
    for table, which in ((ours, "first"), (theirs, "second")):
        surplus = table.num_rows - both.num_rows
        result.differ(surplus * (table.num_columns - len(keys)), f"{surplus} rows more in the {which} table")
    return ours.take(both[PLACE]), theirs.take(both[f"{PLACE} of theirs"])


def _places(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Each key once, with the number of its first row."""
    numbered = table.select(keys).append_column("row", pa.array(range(table.num_rows), pa.int64()))
    return numbered.group_by(list(keys)).aggregate([("row", "min")]).rename_columns([*keys, PLACE])


def _compare(name: str, places: pa.Table, ours: pa.Array, theirs: pa.Array, result: Comparison) -> None:
    if not pa.types.is_list(ours.type):
        result.values += len(ours)
        unequal = ~_equal(ours, theirs, result)
        _report(name, places, ours, theirs, unequal, result)
        return
    lengths = [np.asarray(pc.fill_null(pc.list_value_length(a), -1)) for a in (ours, theirs)]
    other_length = lengths[0] != lengths[1]
    result.values += int((lengths[0] < 0).sum())
    _report(name, places, ours, theirs, other_length, result)
    same = pa.array(~other_length)
    ours, theirs, places = ours.filter(same), theirs.filter(same), places.filter(same)
    parents, flat = pc.list_parent_indices(ours), ours.flatten()
    result.values += len(flat)
    unequal = ~_equal(flat, theirs.flatten(), result)
    _report(name, places.take(parents), flat, theirs.flatten(), unequal, result)


def _equal(ours: pa.Array, theirs: pa.Array, result: Comparison) -> np.ndarray:
    if not pa.types.is_floating(ours.type):
        return np.asarray(pc.fill_null(pc.equal(ours, theirs), False)) | _both(ours, theirs, pc.is_null)
    a, b = (np.asarray(pc.fill_null(x, 0.0)) for x in (ours, theirs))
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(float).tiny)
    apart = np.where(a == b, 0.0, apart)
    near = (apart <= RELATIVE) & _both(ours, theirs, pc.is_valid)
    result.largest_relative = max(result.largest_relative, float(apart[near].max(initial=0.0)))
    return near | _both(ours, theirs, pc.is_null) | (np.isnan(a) & np.isnan(b))


def _both(ours: pa.Array, theirs: pa.Array, what: object) -> np.ndarray:
    return np.asarray(what(ours)) & np.asarray(what(theirs))  # type: ignore[operator]


def _report(
    name: str, places: pa.Table, ours: pa.Array, theirs: pa.Array, unequal: np.ndarray, result: Comparison
) -> None:
    count = int(unequal.sum())
    if count:
        at = int(np.argmax(unequal))
        place = {key: str(places[key][at]) for key in places.column_names}
        values = f"{str(ours[at])[:200]} and {str(theirs[at])[:200]}"
        result.differ(count, f"{name} at {place}: {values}")
