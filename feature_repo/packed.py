"""The packed item table: everything about items that ranking reads, as arrays.

Feast reads row by row and value by value, which for the 500 candidates of a request takes longer than the request may.
Here a row of the table is an item, and 500 items × 20 features are three array look-ups. Values are Feast's own:
`packed_source` takes them out of the offline store, the refresh adds what it writes online.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast.types import Bool, FeastType, Float32, Float64, Int32, Int64, String

from feature_repo.feature import MOMENT
from feature_repo.schema import BEGINNING, ITEM_ID

NUMERIC: Final[tuple[FeastType, ...]] = (Float64, Float32, Int64, Int32, Bool)
"""Types that are packed as float64; String is packed as text. Others (lists, times, bytes) are left out."""
NEVER: Final = np.iinfo(np.int64).min
"""In `moments`: the view has no row of the item."""
SAME: Final = 1e-9
"""Numbers that differ by no more of their size count as the same: sums of floats depend on the order."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PackedView:
    """What is packed of one Feast view."""

    name: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    is_whole: bool
    """Whether all of the view's fields are packed."""
    ttl_us: int | None
    """How long a value holds, in microseconds; None: for ever."""

    @classmethod
    def of(cls, name: str, fields: Mapping[str, FeastType], ttl: timedelta | None) -> PackedView:
        numbers = tuple(field for field, kind in fields.items() if kind in NUMERIC)
        texts = tuple(field for field, kind in fields.items() if kind == String)
        whole = len(numbers) + len(texts) == len(fields)
        return cls(name, numbers, texts, whole, ttl // timedelta(microseconds=1) if ttl else None)


@dataclass(frozen=True)
class PackedItems:
    """Items by row; never changed in place. The last row is that of an unknown item: nothing is known of it."""

    moment: datetime
    """As of when; UTC."""
    views: tuple[PackedView, ...]
    """Columns are in the order of the views and of their fields; names are unique over all views."""
    ids: tuple[str, ...]
    """[n]"""
    numbers: npt.NDArray[np.float64]
    """[n + 1, numeric columns], NaN where unknown"""
    codes: npt.NDArray[np.int32]
    """[n + 1, text columns] into `values`, 0 where unknown"""
    values: tuple[tuple[str | None, ...], ...]
    """Per text column its values; the first is None."""
    moments: npt.NDArray[np.int64]
    """[n + 1, views] epoch microseconds of the row's event timestamp, or `NEVER`"""

    @classmethod
    def empty(cls, views: Sequence[PackedView]) -> PackedItems:
        """A table without items."""
        texts = sum(len(view.texts) for view in views)
        return cls(
            moment=BEGINNING,
            views=tuple(views),
            ids=(),
            numbers=np.full((1, sum(len(view.numbers) for view in views)), np.nan),
            codes=np.zeros((1, texts), np.int32),
            values=((None,),) * texts,
            moments=np.full((1, len(views)), NEVER),
        )

    @property
    def number_names(self) -> tuple[str, ...]:
        return tuple(name for view in self.views for name in view.numbers)

    @property
    def text_names(self) -> tuple[str, ...]:
        return tuple(name for view in self.views for name in view.texts)

    def rows(self, items: Sequence[str]) -> npt.NDArray[np.intp]:
        """[len(items)] the items' rows; unknown ones get the last."""
        found, unknown = self._row_of, len(self.ids)
        return np.fromiter((found.get(item, unknown) for item in items), np.intp, len(items))

    def read(self, items: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]:
        """Numbers [len(items), numeric columns] and texts [len(items), text columns], None where unknown."""
        rows = self.rows(items)
        codes = self.codes[rows]
        texts = np.empty(codes.shape, dtype=object)
        for column, values in enumerate(self._value_arrays):
            texts[:, column] = values[codes[:, column]]
        return self.numbers[rows], texts

    def at(self, now: datetime) -> PackedItems:
        """The table as it holds at `now`: values older than their view's ttl are unknown."""
        numbers, codes = self.numbers, self.codes
        number, text = 0, 0  # where the view's columns begin
        for index, view in enumerate(self.views):
            of_numbers, of_texts = slice(number, number + len(view.numbers)), slice(text, text + len(view.texts))
            number, text = of_numbers.stop, of_texts.stop
            if view.ttl_us is None:
                continue
            expired = np.flatnonzero(self.moments[:, index] < epoch_us(now) - view.ttl_us)
            if len(expired):
                if numbers is self.numbers:
                    numbers, codes = numbers.copy(), codes.copy()
                numbers[expired, of_numbers] = np.nan
                codes[expired, of_texts] = 0
        return replace(self, numbers=numbers, codes=codes) if numbers is not self.numbers else self

    def changed(self, view: str, table: pa.Table) -> pa.Table:
        """Those rows of a view that the table has not, or has otherwise, or has from so long ago that half of the
        view's ttl is over."""
        index = self._index(view)
        packed = self.views[index]
        rows = self.rows(table[ITEM_ID].to_pylist())
        before = self.moments[rows, index]
        same = (before != NEVER) & np.full(len(rows), packed.is_whole)
        if packed.ttl_us is not None:
            same &= before > _microseconds(table[MOMENT]) - packed.ttl_us // 2
        for name in packed.numbers:
            here = self.numbers[rows, self.number_names.index(name)]
            same &= np.isclose(_floats(table[name]), here, rtol=SAME, atol=0, equal_nan=True)
        for name in packed.texts:
            column = self.text_names.index(name)
            same &= self._value_arrays[column][self.codes[rows, column]] == _texts(table[name])
        return table.filter(pa.array(~same))

    def updated(self, moment: datetime, tables: Mapping[str, pa.Table]) -> PackedItems:
        """The table as of `moment`, with rows of views in the place of those that it has.

        Args:
            moment: UTC.
            tables: view -> rows with `item_id`, `event_timestamp` and the packed columns, an item once.
        """
        new = sorted({item for table in tables.values() for item in table[ITEM_ID].to_pylist()} - self._row_of.keys())
        grown = replace(
            self,
            moment=moment,
            ids=(*self.ids, *new),
            numbers=_grown(self.numbers, len(new)),
            codes=_grown(self.codes, len(new)),
            moments=_grown(self.moments, len(new)),
        )
        all_values = list(self.values)
        for view, table in tables.items():
            index = self._index(view)
            rows = grown.rows(table[ITEM_ID].to_pylist())
            grown.moments[rows, index] = _microseconds(table[MOMENT])
            for name in self.views[index].numbers:
                grown.numbers[rows, self.number_names.index(name)] = _floats(table[name])
            for name in self.views[index].texts:
                column = self.text_names.index(name)
                codes, all_values[column] = _coded(table[name], all_values[column])
                grown.codes[rows, column] = codes
        return replace(grown, values=tuple(all_values))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.ids)}

    @cached_property
    def _value_arrays(self) -> tuple[npt.NDArray[np.object_], ...]:
        return tuple(np.array(values, dtype=object) for values in self.values)

    def _index(self, view: str) -> int:
        return [packed.name for packed in self.views].index(view)


def epoch_us(at: datetime) -> int:
    """Epoch microseconds; exact, where a float of seconds would round."""
    return (at.astimezone(UTC) - BEGINNING) // timedelta(microseconds=1)


def _grown(array: Array, by: int) -> Array:
    """A copy with `by` more rows, each like the last: nothing is known of them yet."""
    return np.concatenate([array, np.repeat(array[-1:], by, axis=0)])


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Null becomes NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _microseconds(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())


def _texts(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    return np.asarray(column.to_numpy(), dtype=object)


def _coded(
    column: pa.ChunkedArray, values: tuple[str | None, ...]
) -> tuple[npt.NDArray[np.int32], tuple[str | None, ...]]:
    """Codes of a column's texts, and the values with those that were not among them."""
    encoded = column.combine_chunks().dictionary_encode()
    here = encoded.dictionary.to_pylist()
    codes = {value: code for code, value in enumerate(values)}
    for value in here:
        codes.setdefault(value, len(codes))
    of_code = np.array([*(codes[value] for value in here), 0], np.int32)  # the last one: null
    return of_code[encoded.indices.fill_null(len(here)).to_numpy()], tuple(codes)
