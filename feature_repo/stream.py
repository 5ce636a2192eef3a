"""The stream path: an arriving event updates its user's online features, by the same expressions as the batch.

The user's history is read from the online store, the event joins it, and DuckDB in process runs the
features' compiled SQL over the result.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo import inputs
from feature_repo import schema as s
from feature_repo.event import Event
from feature_repo.feature import MOMENT
from feature_repo.features import discover
from feature_repo.store import Features

_TIME = pa.timestamp("us", tz="UTC")
ARRIVED = pa.schema(
    [
        (s.EVENT_ID, pa.string()),
        (s.USER_ID, pa.string()),
        (MOMENT, _TIME),
        (s.ITEM_ID, pa.string()),
        (s.EVENT_TYPE, pa.string()),
        (s.TIMESTAMP, _TIME),
        (s.PRICE, pa.float64()),
        (s.QUANTITY, pa.float64()),
        (s.VALUE, pa.float64()),
        (s.CATEGORY, pa.string()),
    ]
)
"""What the compiled expressions read: the affected users' histories with the new events."""


def compiled() -> dict[str, str]:
    """DuckDB SQL of every streamed feature over the table `arrived`."""
    arrived = ibis.table(ibis.Schema.from_pyarrow(ARRIVED), name="arrived")
    history = inputs.history(arrived)
    streamed = [feature for feature in discover().values() if feature.streamed]
    return {feature.name: str(ibis.to_sql(feature.expression(history), dialect="duckdb")) for feature in streamed}


class StreamPath:
    """Applies events to the online store. One instance per process; safe to call from several threads."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._sql = compiled()
        self._db = duckdb.connect()
        self._db.execute("SET TimeZone = 'UTC'")  # hours and weekdays as in the batch, wherever this runs
        # Reading a history, adding to it and writing it back must not interleave.
        self._lock = threading.Lock()

    def apply(self, events: Sequence[Event], now: datetime) -> None:
        """Update the features of the events' users as of `now`, or of their newest event if that is later.

        Applying an event again changes nothing: its id tells.
        Impressions change no feature.
        """
        telling = [event.at(now) for event in events if event.event_type != s.IMPRESSION]
        if not telling:
            return
        with self._lock:
            self._db.register("arrived", self._arrived(telling, now))
            for view, sql in self._sql.items():
                self._features.push(view, self._db.sql(sql).to_arrow_table())

    def _arrived(self, events: Sequence[Event], now: datetime) -> pa.Table:
        users = sorted({event.user_id for event in events})
        rows = [self._new_rows(events), *self._known_rows(users)]
        merged = pd.concat(rows, ignore_index=True).drop_duplicates(s.EVENT_ID, keep="last")
        newest = merged.groupby(s.USER_ID)[s.TIMESTAMP].transform("max")
        merged[MOMENT] = newest.where(newest > pd.Timestamp(now), pd.Timestamp(now))
        return pa.Table.from_pandas(merged[ARRIVED.names], schema=ARRIVED, preserve_index=False)

    def _new_rows(self, events: Sequence[Event]) -> pd.DataFrame:
        items = sorted({event.item_id for event in events})
        times = pd.to_datetime(pd.Series([e.timestamp for e in events]), utc=True)
        category = self._features.online_rows("item_catalogue", s.ITEM_ID, items)[s.CATEGORY]
        return pd.DataFrame(
            {
                s.EVENT_ID: [e.event_id for e in events],
                s.USER_ID: [e.user_id for e in events],
                s.ITEM_ID: [e.item_id for e in events],
                s.EVENT_TYPE: [e.event_type for e in events],
                s.TIMESTAMP: times.astype("datetime64[us, UTC]"),
                s.PRICE: pd.Series([e.price for e in events], dtype="float64"),
                s.QUANTITY: pd.Series([e.quantity for e in events], dtype="float64"),
                s.VALUE: pd.Series([e.value for e in events], dtype="float64"),
                s.CATEGORY: [category[e.item_id] for e in events],
            }
        )

    def _known_rows(self, users: Sequence[str]) -> list[pd.DataFrame]:
        histories = self._features.online_rows("history", s.USER_ID, users)
        return [_unpack(str(user), row) for user, row in histories.iterrows() if row["history_items"]]


def _unpack(user: str, row: pd.Series[Any]) -> pd.DataFrame:
    """A stored history as rows; undoes the stand-ins for null that lists in Feast need."""
    return pd.DataFrame(
        {
            s.EVENT_ID: row["history_ids"],
            s.USER_ID: user,
            s.ITEM_ID: row["history_items"],
            s.EVENT_TYPE: row["history_types"],
            s.TIMESTAMP: pd.to_datetime(np.asarray(row["history_times"], np.int64), unit="us", utc=True).astype(
                "datetime64[us, UTC]"
            ),
            s.PRICE: np.nan,
            s.QUANTITY: np.nan,
            s.VALUE: row["history_values"],
            s.CATEGORY: [category or None for category in row["history_categories"]],
        }
    )
