"""Several columns of a group as parallel lists: how one row of Feast carries many things in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import ibis
from ibis.expr.types import ArrayValue, BooleanValue, Column, IntegerColumn, Table

TIE_DIGITS: Final = 9
"""Round a sum of floats to these when ordering by it. Engines add up in different orders, so the last digits of equal
sums differ, and would decide where the next criterion should."""
_ORDER = "position"


def parallel_lists(rows: Table, by: Sequence[str], order: IntegerColumn, columns: Mapping[str, Column]) -> Table:
    """One row per group of `by`, every column a list of the group's values in ascending `order`.

    The rows are collected as one list of structs that is sorted once, as Spark has no ordered aggregate, and
    DuckDB would sort for each list anew. Values must not be null: lists in Feast hold none.
    """
    together = ibis.struct({_ORDER: order, **columns})
    grouped = rows.group_by(*by).agg(together=together.collect().sort())
    return grouped.select(*by, **{name: _field(grouped["together"], name) for name in columns})


def sorted_values(values: Column, where: BooleanValue | None = None) -> ArrayValue:
    """The values of a group, sorted; an empty list where there are none."""
    found = values.collect(where=where).sort()
    return found.coalesce(ibis.literal([], type=found.type()))


def _field(structs: ArrayValue, name: str) -> ArrayValue:
    return structs.map(lambda struct: struct[name])
