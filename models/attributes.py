"""What is said of items, beside who takes them, as sparse features: the way to an item that nobody has taken yet."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from feature_repo.schema import ATTRIBUTES, IN_STOCK, ITEM_ID, NAME, PRICE, TIMESTAMP
from models.errors import TableError
from models.ids import IdMap

TEXTS: Final = (NAME, "title", "description")
"""Columns that are read word by word; every other one is a value as a whole."""
_WORD: Final = re.compile(r"\w+")
_LEAST: Final = 2
"""Items that must have a feature: what one alone has ties it to nothing."""
_PRICE_STEPS: Final = 2
"""Per doubling of the price."""
_MATRIX, _FEATURES = "content.npz", "features.npz"


@dataclass(frozen=True)
class ItemAttributes:
    """Each item's features with their TF-IDF weights; those that all items have are left out."""

    names: tuple[str, ...]
    """[F] `column=value` or `column:word`"""
    idf: npt.NDArray[np.float64]
    """[F] how rare each is"""
    matrix: sparse.csr_matrix
    """[n_items, F] rows of length 1, empty for item 0 and for items of which nothing is known"""

    @classmethod
    def of(cls, frame: pd.DataFrame, items: IdMap) -> ItemAttributes:
        """Learns which features there are.

        Args:
            frame: `item_id` and any other columns; a map in `attributes` counts as columns. Of several rows about an
                item the last counts. Values that are missing, NaN or infinite are not known.
            items: the models' items; rows about others are left out.

        Raises:
            TableError: there is no `item_id`, a price that is no number, or no feature that tells items apart.
        """
        said = _said(frame, items)
        known = [features for features in said if features]
        model = _vectorizer(min_df=min(_LEAST, len(known)), max_df=max(len(known) - 1, 1))
        try:
            model.fit(known)
        except ValueError:
            raise TableError(
                f"items: no column tells the {len(known)} items with attributes apart; expected at least one value "
                f"that two of them have and another has not, in columns {list(frame.columns)}"
            ) from None
        return cls(tuple(model.get_feature_names_out()), model.idf_, _matrix(model, said))

    def follow(self, frame: pd.DataFrame, items: IdMap) -> ItemAttributes:
        """The same features of another table, such as one with new items; values not met before are left out."""
        model = _vectorizer(vocabulary=self.names)
        model.idf_ = self.idf
        return ItemAttributes(self.names, self.idf, _matrix(model, _said(frame, items)))

    @classmethod
    def none(cls, n_items: int) -> ItemAttributes:
        """Of items of which nothing is known."""
        return cls((), np.empty(0), sparse.csr_matrix((n_items, 0), dtype=np.float32))

    def check(self, source: str, n_items: int) -> None:
        """Whether they are of the items that events are about.

        Raises:
            TableError: they are not.
        """
        if (count := self.matrix.shape[0]) != n_items:
            raise TableError(
                f"{source}: attributes of {count} items, events of {n_items}, with the unknown one; make both with the "
                "same id map"
            )

    def save(self, folder: Path) -> None:
        """Writes them into an existing folder."""
        sparse.save_npz(folder / _MATRIX, self.matrix)
        np.savez(folder / _FEATURES, names=np.array(self.names, dtype=np.str_), idf=self.idf)

    @classmethod
    def load(cls, folder: Path) -> ItemAttributes:
        """Reads what `save` wrote."""
        with np.load(folder / _FEATURES, allow_pickle=False) as features:
            names, idf = tuple(features["names"].tolist()), features["idf"]
        return cls(names, idf, sparse.csr_matrix(sparse.load_npz(folder / _MATRIX)))

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """[n_items] of which anything is known."""
        return np.diff(self.matrix.indptr) > 0


def _vectorizer(**chosen: Any) -> TfidfVectorizer:
    """Damped counts times rarity, each row of length 1, of features that are found already."""
    return TfidfVectorizer(analyzer=list, sublinear_tf=True, **chosen)


def _matrix(model: TfidfVectorizer, said: list[list[str]]) -> sparse.csr_matrix:
    return sparse.csr_matrix(model.transform(said), dtype=np.float32)


def _said(frame: pd.DataFrame, items: IdMap) -> list[list[str]]:
    """[n_items] the names of each item's features, as often as it has them."""
    if ITEM_ID not in frame.columns:
        raise TableError(f"items: column {ITEM_ID!r} is missing, got {list(frame.columns)}")
    if TIMESTAMP in frame.columns:
        frame = frame.sort_values(TIMESTAMP, kind="stable")
    frame = frame.drop_duplicates(ITEM_ID, keep="last")
    ids = items.encode(frame[ITEM_ID].astype(str).tolist()).tolist()
    said: list[list[str]] = [[] for _ in range(len(items))]
    for column in frame.columns.difference([ITEM_ID, TIMESTAMP], sort=False):
        for item, value in zip(ids, frame[column].tolist(), strict=True):
            if item:
                said[item].extend(_features(str(column), value))
    return said


def _features(column: str, value: Any) -> Iterator[str]:
    if column == IN_STOCK:
        return  # says what can be had today, and nothing of what the item is
    if column == ATTRIBUTES:
        entries = value.items() if isinstance(value, Mapping) else (value if isinstance(value, list | tuple) else ())
        for name, each in entries:
            yield from _features(str(name), each)
    elif value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return
    elif column == PRICE:
        if (price := _number(column, value)) > 0:
            yield f"{column}={round(_PRICE_STEPS * math.log2(price))}"
    elif column in TEXTS:
        yield from (f"{column}:{word}" for word in _WORD.findall(str(value).lower()))
    elif text := str(value).strip().lower():
        yield f"{column}={text}"


def _number(column: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TableError(f"items: column {column!r} has {value!r}, expected a number") from None
    return number if math.isfinite(number) else 0.0
