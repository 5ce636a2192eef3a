"""The part of an item table that one answer depended on: kept with it, for the service's table changes every minute.

A few hundred items are compared for an answer, of a table of a million. That, and which items were of another category
or brand than in the bundle, or in stock here and not there, is all that a ranking reads of the table.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from feature_repo.schema import IN_STOCK
from models.batch import Ints
from models.errors import ItemRowsError
from models.items import NUMBERS, ItemTable
from models.recommender import Ask, Recommender
from models.vocabulary import ITEM_CATEGORICALS

_COLUMNS: Final = (*ITEM_CATEGORICALS, *NUMBERS)
_IN_STOCK: Final = NUMBERS.index(IN_STOCK)
_NONE: Final[Ints] = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class ItemRows:
    """Rows of an `ItemTable`, by inside ids of one bundle."""

    ids: Ints
    """[n]"""
    codes: Ints
    """[n, len(ITEM_CATEGORICALS)]"""
    numbers: npt.NDArray[np.float64]
    """[n, len(NUMBERS)]"""
    moved: Ints
    """[m] items that filters and rules took for something else than in the bundle"""
    looks: Ints
    """[m, .] what for, see `ItemTable.looks`"""

    @classmethod
    def read_by(cls, ask: Ask, candidates: Ints | None, recommender: Recommender, own: Ints) -> Self:
        """What the answer to one request depended on.

        Args:
            candidates: inside ids of the items that were compared, 0 where padded; None: the model did not rank.
            recommender: as it answered.
            own: [n items, .] the looks of the bundle's own table.
        """
        table = recommender.items
        ids = _NONE
        if candidates is not None or ask.rest:
            state = ask.state.with_items(recommender.known(ask.items)[0])
            named = recommender.vocabulary.items.encode([*state.own_items, *state.session_items])
            # With 0, whose row stands where a session is short.
            ids = np.unique(np.concatenate([_NONE if candidates is None else candidates, named]))
        moved = _NONE
        if ask.categories is not None or ask.rules is not None or ask.in_stock:
            differs = table.looks != own
            if ask.categories is None and ask.rules is None:
                differs = differs[:, -1:]  # nothing but the stock is read of items that were not compared
            moved = np.flatnonzero(differs.any(axis=1)).astype(np.int32)
        return cls(ids, table.codes[ids], table.numbers[ids], moved, table.looks[moved])

    def over(self, table: ItemTable) -> ItemTable:
        """A bundle's own table with these rows instead of its own."""
        codes, numbers = table.codes.copy(), table.numbers.copy()
        codes[self.moved] = self.looks[:, :-1]
        numbers[self.moved, _IN_STOCK] = np.where(self.looks[:, -1], 0.0, np.nan)
        codes[self.ids], numbers[self.ids] = self.codes, self.numbers
        return replace(table, codes=codes, numbers=numbers)

    def pack(self) -> bytes:
        """As bytes, without pickle; column by column, which packs better."""
        file = io.BytesIO()
        np.savez(
            file,
            columns=np.array(_COLUMNS),
            ids=self.ids,
            codes=np.ascontiguousarray(self.codes.T),
            numbers=np.ascontiguousarray(self.numbers.T),
            moved=self.moved,
            looks=self.looks,
        )
        return zlib.compress(file.getvalue(), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` wrote.

        Raises:
            ItemRowsError: it is damaged, or has other columns than this code's tables.
        """
        try:
            with np.load(io.BytesIO(zlib.decompress(packed)), allow_pickle=False) as data:
                columns = tuple(data["columns"].tolist())
                names = ("ids", "codes", "numbers", "moved", "looks") if columns == _COLUMNS else ()
                parts = [data[name].T if name in ("codes", "numbers") else data[name] for name in names]
        except (ValueError, KeyError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
            raise ItemRowsError(f"the logged item features cannot be read: {error}") from error
        if columns != _COLUMNS:
            changed = sorted(set(columns).symmetric_difference(_COLUMNS)) or "their order"
            raise ItemRowsError(
                f"the logged item features have another form than this code's ({changed}): replay with the code that "
                f"answered"
            )
        return cls(*parts)
