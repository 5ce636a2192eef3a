"""Several columns of a group as parallel lists: how one row of Feast carries many things in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import ibis
from ibis.expr.types import ArrayValue, Column, Scalar, Table

TIE_DIGITS: Final = 9
"""Round a sum of floats to these when ordering by it. Engines add up in different orders, so the last digits of equal
sums differ, and would decide where the next criterion should."""


def parallel_lists(
    rows: Table,
    by: Sequence[str],
    order: Sequence[Column],
    columns: Mapping[str, Column],
    at_most: int | None = None,
    whole: Mapping[str, Scalar] | None = None,
) -> Table:
    """One row per group of `by`, every column a list of the group's values in ascending `order`.

    Values must not be null: lists in Feast hold none.

    Args:
        order: what to sort by, then what decides among equals; no two rows of a group may agree in all of it.
        at_most: keep this many values, the first.
        whole: aggregates of all the group's rows, columns of the result too.
    """
    positions = {f"position_{index}": column for index, column in enumerate(order)}
    together = sorted_structs(**positions, **columns)
    grouped = rows.group_by(*by).agg(together=together if at_most is None else together[:at_most], **(whole or {}))
    lists = {name: field_of(grouped["together"], name) for name in columns}
    return grouped.select(*by, *(whole or ()), **lists)


def sorted_structs(**columns: Column) -> ArrayValue:
    """The group's rows as one list of structs, sorted by the first column, then by the next.

    One list sorted once, as Spark has no ordered aggregate, and DuckDB would sort for each list anew.
    """
    return ibis.struct(columns).collect().sort()


def field_of(structs: ArrayValue, name: str) -> ArrayValue:
    """One field of each struct of a list."""
    return structs.map(lambda struct: struct[name])
