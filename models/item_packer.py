"""Item features that are arrays already become a model's item table: every minute, beside the requests.

What depends on the item list and on the texts' distinct values alone is kept from one table to the next, so that all
that is left to do is to look numbers up in arrays, which numpy does without Python's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.schema import NAME
from models.batch import Ints
from models.errors import TableError
from models.items import NUMBERS, ItemTable, Texts
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary


@dataclass(frozen=True)
class ItemColumns:
    """Item features column by column. In each column, one more row than there are items: that of an unknown item."""

    ids: Sequence[str]
    """[n]"""
    numbers: Mapping[str, npt.NDArray[np.float64]]
    """Name -> [n + 1]"""
    texts: Mapping[str, Texts]
    """Name -> [n + 1]"""


class ItemPacker:
    """Packs tables for one model. What it keeps is known again as the same object: it looks at no id twice."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._ids: Sequence[str] | None = None
        self._rows: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)
        """[n model items] where each stands in the columns"""
        self._codes: dict[str, tuple[Any, Ints]] = {}
        """Column -> its distinct values and the model's code of each"""

    def pack(self, columns: ItemColumns) -> ItemTable:
        """The model's table: `ItemTable.pack` of the same values, in any of `ITEM_COLUMNS`.

        Raises:
            TableError: a column has another length than the ids ask for.
        """
        lengths = {name: len(column) for name, column in columns.numbers.items()}
        lengths |= {name: len(column.codes) for name, column in columns.texts.items()}
        for name, length in lengths.items():
            if length != len(columns.ids) + 1:
                raise TableError(f"items: column {name!r} has {length} rows, expected {len(columns.ids) + 1}")
        rows = self._rows_of(columns.ids)
        codes = np.zeros((len(rows), len(ITEM_CATEGORICALS)), dtype=np.int32)
        for at, name in enumerate(ITEM_CATEGORICALS):
            if name in columns.texts:
                codes[:, at] = self._codes_of(name, columns.texts[name].values)[columns.texts[name].codes[rows]]
        numbers = np.full((len(rows), len(NUMBERS)), np.nan)
        for at, name in enumerate(NUMBERS):
            if name in columns.numbers:
                numbers[:, at] = columns.numbers[name][rows]
        names = columns.texts.get(NAME, Texts(np.zeros(len(columns.ids) + 1, dtype=np.int32), [None]))
        return ItemTable(codes, numbers, Texts(names.codes[rows], names.values))

    def _rows_of(self, ids: Sequence[str]) -> npt.NDArray[np.intp]:
        if ids is not self._ids:
            inside = self._vocabulary.items.encode(ids)
            known = inside > 0
            rows = np.full(len(self._vocabulary.items), len(ids), dtype=np.intp)
            rows[inside[known]] = np.flatnonzero(known)
            self._ids, self._rows = ids, rows
        return self._rows

    def _codes_of(self, name: str, values: Any) -> Ints:
        kept = self._codes.get(name)
        if kept is None or kept[0] is not values:
            kept = self._codes[name] = (values, self._vocabulary.fields[name].encode(values))
        return kept[1]
