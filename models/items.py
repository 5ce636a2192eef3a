"""The packed item table: everything about items that scoring needs, as arrays aligned with the id map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.schema import CATEGORY, IN_STOCK, ITEM_ID, NAME, PRICE, WINDOWS_DAYS
from models.batch import Ints
from models.errors import TableError
from models.ids import UNKNOWN, IdMap
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

NUMBERS: Final = (
    *(f"purchases_{days}d" for days in WINDOWS_DAYS),
    "events_30d",
    "buyers_30d",
    "buyers_90d",
    "price_mean",
    "price_level",
    "discount_share",
    "first_seen_at",
    PRICE,
    IN_STOCK,
)
"""Numeric columns of `item_popularity` and `item_catalogue`, in the order of `ItemTable.numbers`; new ones last."""
STATIC_FEATURES: Final = (
    "item_purchases_7d_log",
    "item_purchases_30d_log",
    "item_purchases_90d_log",
    "item_events_30d_log",
    "item_buyers_30d_log",
    "item_buyers_90d_log",
    "item_trend_7d",
    "item_trend_30d",
    "item_repeat",
    "item_price_log",
    "item_price_level",
    "item_discount_share",
)
"""The ranker's features of an item that depend on neither user nor moment."""
ITEM_COLUMNS: Final = (ITEM_ID, NAME, *ITEM_CATEGORICALS, *NUMBERS)


@dataclass(frozen=True)
class Texts:
    """A text column by its distinct values."""

    codes: Ints
    """[rows] into `values`"""
    values: Sequence[str | None] | npt.NDArray[np.str_]
    """None or empty: unknown"""

    def __getitem__(self, row: int) -> str:
        """A row's text, empty where unknown."""
        return str(self.values[self.codes[row]] or "")


@dataclass(frozen=True)
class ItemTable:
    """One row per inside item id, row 0 the unknown item."""

    codes: Ints
    """[n items, len(ITEM_CATEGORICALS)]"""
    numbers: npt.NDArray[np.float64]
    """[n items, len(NUMBERS)], NaN where unknown; times are epoch seconds"""
    names: Texts
    """[n items]"""

    @classmethod
    def pack(cls, frame: pd.DataFrame, vocabulary: Vocabulary) -> ItemTable:
        """Packs a frame with `item_id` and any of `ITEM_COLUMNS`; items that the model doesn't know are skipped.

        Raises:
            TableError: there is no `item_id` column.
        """
        if ITEM_ID not in frame.columns:
            raise TableError(f"items: column {ITEM_ID!r} is missing, got {list(frame.columns)}")
        ids = vocabulary.items.encode(frame[ITEM_ID].tolist())
        rows = ids > 0
        ids = ids[rows]
        size = len(vocabulary.items)
        codes = np.zeros((size, len(ITEM_CATEGORICALS)), dtype=np.int32)
        for column, name in enumerate(ITEM_CATEGORICALS):
            if name in frame.columns:
                values, at = _values(frame[name][rows])
                codes[ids, column] = vocabulary.fields[name].encode(values)[at]
        numbers = np.full((size, len(NUMBERS)), np.nan)
        for column, name in enumerate(NUMBERS):
            if name in frame.columns:
                numbers[ids, column] = pd.to_numeric(frame[name][rows], errors="coerce").to_numpy(np.float64)
        names = Texts(np.zeros(size, dtype=np.int32), [None])
        if NAME in frame.columns:
            values, at = _values(frame[NAME][rows])
            names = Texts(np.full(size, len(values) - 1, dtype=np.int32), values)
            names.codes[ids] = at % len(values)
        return cls(codes, numbers, names)

    def number(self, name: str) -> npt.NDArray[np.float64]:
        """[n items] one of `NUMBERS`."""
        return self.numbers[:, NUMBERS.index(name)]

    def code(self, name: str) -> Ints:
        """[n items] one of `ITEM_CATEGORICALS`."""
        return self.codes[:, ITEM_CATEGORICALS.index(name)]

    def of_category(self, code: int) -> Ints:
        """Ids of a category's items, sorted."""
        order, bounds = self._by_category
        return order[bounds[code] : bounds[code + 1]] if code + 1 < len(bounds) else order[:0]

    @cached_property
    def _by_category(self) -> tuple[Ints, npt.NDArray[np.intp]]:
        """Ids by category, and where each begins."""
        codes = self.code(CATEGORY)
        order = np.argsort(codes, kind="stable").astype(np.int32)
        return order, np.searchsorted(codes[order], np.arange(int(codes.max(initial=0)) + 2))

    @cached_property
    def sold_out(self) -> Ints:
        """Ids of the items that are known to be out of stock, sorted."""
        return np.flatnonzero(self.number(IN_STOCK) == 0).astype(np.int32)

    @cached_property
    def looks(self) -> Ints:
        """[n items, len(ITEM_CATEGORICALS) + 1] what filters and rules read of items: the codes, and 1 if sold out."""
        return np.column_stack([self.codes, self.number(IN_STOCK) == 0]).astype(np.int32)

    @cached_property
    def largest_code(self) -> int:
        """Of all categoricals."""
        return int(self.codes.max(initial=0))

    @cached_property
    def static_features(self) -> npt.NDArray[np.float32]:
        """[n items, len(STATIC_FEATURES)] without NaN."""
        week, month, quarter, events, buyers, buyers_quarter = (
            np.nan_to_num(self.number(name))
            for name in ("purchases_7d", "purchases_30d", "purchases_90d", "events_30d", "buyers_30d", "buyers_90d")
        )
        price = np.where(np.isnan(self.number("price_mean")), self.number(PRICE), self.number("price_mean"))
        columns = [
            *(np.log1p(count) for count in (week, month, quarter, events, buyers, buyers_quarter)),
            np.log((week + 0.5) / (month * 7 / 30 + 0.5)),
            np.log((month + 0.5) / (quarter / 3 + 0.5)),
            np.log((quarter + 1) / (buyers_quarter + 1)),
            np.log1p(np.maximum(np.nan_to_num(price), 0.0)),
            np.log(np.maximum(np.nan_to_num(self.number("price_level"), nan=1.0), 0.05)),
            np.nan_to_num(self.number("discount_share")),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def save(self, file: Path) -> None:
        """Writes an npz without pickle."""
        values = np.array([value or "" for value in self.names.values], dtype=np.str_)
        np.savez(file, codes=self.codes, numbers=self.numbers, name_codes=self.names.codes, name_values=values)

    @classmethod
    def load(cls, file: Path) -> ItemTable:
        """Reads what `save` wrote."""
        with np.load(file, allow_pickle=False) as data:
            if "names" in data:  # of a bundle that was trained before names were kept by their distinct values
                names = Texts(np.arange(len(data["codes"]), dtype=np.int32), data["names"])
            else:
                names = Texts(data["name_codes"], data["name_values"])
            numbers = data["numbers"]
            # A bundle from before a column came says nothing of it.
            unknown = np.full((len(numbers), len(NUMBERS) - numbers.shape[1]), np.nan)
            return cls(data["codes"], np.hstack([numbers, unknown]), names)


class ItemNames(Mapping[str, str]):
    """item_id -> name, the id itself where there is none. Looked up one by one: a dict takes long to make."""

    def __init__(self, ids: IdMap, names: Texts) -> None:
        self._ids = ids
        self._names = names

    def __getitem__(self, item_id: str) -> str:
        row = self._ids.get(item_id)
        if row == UNKNOWN:
            raise KeyError(item_id)
        return self._names[row] or item_id

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.names)

    def __len__(self) -> int:
        return len(self._ids.names)


def field_values(frame: pd.DataFrame, name: str) -> IdMap:
    """The id map of one text column's values, sorted; empty if the frame has no such column."""
    if name not in frame.columns:
        return IdMap(())
    values, _ = _values(frame[name])
    return IdMap(sorted(text for text in values if text is not None))


def _values(column: pd.Series) -> tuple[list[str | None], npt.NDArray[np.intp]]:
    """The column's distinct values as text, None at the end, and which of them each row has; -1 is the None."""
    at, values = pd.factorize(column)
    return [*map(str, values), None], np.asarray(at, dtype=np.intp)
