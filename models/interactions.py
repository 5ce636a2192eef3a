"""The event table as integers, sorted by user and time: what the sources learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from scipy import sparse

from feature_repo.schema import (
    CART,
    CLICK,
    EVENT_TYPE,
    EVENT_WEIGHTS,
    IMPRESSION,
    ITEM_ID,
    PURCHASE,
    RATING,
    TIMESTAMP,
    USER_ID,
    VIEW,
)
from models.batch import Ints
from models.errors import EmptyTrainingDataError, TableError
from models.ids import IdMap
from models.state import DAY_S, Floats
from models.vocabulary import Vocabulary

TARGETS = (PURCHASE, CART, RATING, CLICK, VIEW)
"""Event types from the strongest to the weakest; the strongest one present is what a model predicts."""


@dataclass(frozen=True)
class Interactions:
    """Events without impressions, ordered by user and within a user by time."""

    user: Ints
    """[E] 0-based numbers of the users, meaningless outside"""
    item: Ints
    """[E] inside ids"""
    kind: Ints
    """[E] inside ids of the event types"""
    time: Floats
    """[E] epoch seconds"""
    users: tuple[str, ...]
    """The outside ids of the user numbers."""
    n_items: int
    """Rows of the item id map, with the reserved 0."""
    weights: Floats
    """[n event types + 1] weight of each event-type id"""

    def __len__(self) -> int:
        return len(self.item)

    def before(self, cut: float) -> Interactions:
        """The events before a moment."""
        return self.where(self.time < cut)

    def between(self, start: float, end: float) -> Interactions:
        """The events with start <= time < end."""
        return self.where((self.time >= start) & (self.time < end))

    def of_kinds(self, kinds: npt.ArrayLike) -> Interactions:
        """The events of some type ids."""
        return self.where(np.isin(self.kind, np.asarray(kinds)))

    def decayed(self, now: float, half_life_days: float) -> Floats:
        """[E] weight of each event at a moment."""
        return self.weights[self.kind] * 0.5 ** (np.maximum(now - self.time, 0.0) / DAY_S / half_life_days)

    def matrix(self, values: Floats) -> sparse.csr_matrix:
        """[users, n_items] sum of the values [E] per user and item."""
        shape = (len(self.users), self.n_items)
        return sparse.coo_matrix((values, (self.user, self.item)), shape=shape).tocsr()

    def taken(self) -> sparse.csr_matrix:
        """[users, n_items] 1 where the user had anything to do with the item."""
        matrix = self.matrix(np.ones(len(self), dtype=np.float32))
        matrix.data[:] = 1.0
        return matrix

    def as_known(self, n_items: int) -> Interactions:
        """The same to a model whose ids are the first `n_items` of these: what came later is item 0."""
        return replace(self, item=np.where(self.item < n_items, self.item, 0), n_items=n_items)

    def where(self, mask: npt.NDArray[np.bool_]) -> Interactions:
        """Some of the events [E], in their order."""
        return Interactions(
            self.user[mask], self.item[mask], self.kind[mask], self.time[mask], self.users, self.n_items, self.weights
        )


def frame_of(events: pa.Table | pd.DataFrame, end: float) -> pd.DataFrame:
    """The four columns that models read, without impressions and without anything from `end` (epoch s) on.

    Raises:
        TableError: a column is missing.
        EmptyTrainingDataError: nothing is left.
    """
    columns = [USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP]
    names = events.column_names if isinstance(events, pa.Table) else list(events.columns)
    for column in columns:
        if column not in names:
            raise TableError(f"events: column {column!r} is missing, got {names}")
    frame = events.select(columns).to_pandas() if isinstance(events, pa.Table) else events[columns]
    stamps = pd.to_datetime(frame[TIMESTAMP], utc=True).astype("datetime64[us, UTC]")
    frame = frame.assign(**{TIMESTAMP: stamps.astype(np.int64) / 1e6})
    frame = frame[(frame[TIMESTAMP] < end) & (frame[EVENT_TYPE] != IMPRESSION)]
    if frame.empty:
        raise EmptyTrainingDataError("no event other than impressions before the cut; ingest older events or move it")
    return frame


def target_of(frame: pd.DataFrame) -> str:
    """The strongest event type present."""
    present = set(frame[EVENT_TYPE].unique())
    return next((kind for kind in TARGETS if kind in present), VIEW)


def interactions_of(frame: pd.DataFrame, vocabulary: Vocabulary) -> Interactions:
    """Encodes what `frame_of` returned."""
    users = IdMap(sorted(frame[USER_ID].unique()))
    user = _encoded(frame[USER_ID], users) - 1
    time = frame[TIMESTAMP].to_numpy(np.float64)
    order = np.lexsort((time, user))
    kinds = vocabulary.types
    weights = np.array([0.0, *(EVENT_WEIGHTS[name] for name in kinds.names)])
    item = _encoded(frame[ITEM_ID], vocabulary.items)
    kind = _encoded(frame[EVENT_TYPE], kinds)
    return Interactions(
        user[order].astype(np.int32),
        item[order],
        kind[order],
        time[order],
        users.names,
        len(vocabulary.items),
        weights,
    )


def _encoded(names: pd.Series, ids: IdMap) -> Ints:
    """[n] inside ids; each different name is looked up once."""
    codes, different = pd.factorize(names)
    return ids.encode(list(different))[codes]
