"""What both online stores offer beyond Feast's interface: many rows of many views in one round trip.

The stream path writes all views of all users of a micro-batch at once and reads them back at once; Feast's own
methods take one view at a time. A store is at `feast_store._get_provider().online_store`; rows are in Feast's form:

    store.write_rows(config, [(history_view, [(key, {"history_items": value, ...}, at, None)]), (activity_view, ...)])
    [[(at, {"history_items": value})], [(None, None)]] = store.read_rows(
        config, [(history_view, [key], ["history_items"]), (activity_view, [unknown], None)]
    )

The rule of both stores, for these methods and for Feast's own (materialise, push): **the newest row wins**. A row
takes the place of the stored one unless that one's event timestamp is later; of two rows with one timestamp, the one
written last stays. Timestamps count in microseconds. The comparison is made inside the store, so that it holds for
several writers at once. A row is replaced whole: what the newer row does not name counts as null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from feast import FeatureView, RepoConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

Row = tuple[EntityKey, Mapping[str, Value], datetime, datetime | None]
"""Entity, value per feature, event timestamp (UTC), created timestamp (not stored), as Feast hands rows to a store."""
FoundRow = tuple[datetime | None, dict[str, Value] | None]
"""Event timestamp (UTC, microseconds) and value per feature; (None, None) where no row was ever written."""
Wanted = tuple[FeatureView, Sequence[EntityKey], Sequence[str] | None]
"""A view, the entities, and the features to read; None: all of the view's."""


class RowsOnlineStore(Protocol):
    """An online store that reads and writes rows of several views together."""

    def write_rows(self, config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> int:
        """Write rows of several views in one round trip (SQLite: one transaction); returns how many rows were taken,
        the others being older than what is stored.

        Raises:
            OnlineStoreDownError: the store cannot be reached; part of the batch may be written, writing the whole
                of it again is harmless.
        """
        ...

    def read_rows(self, config: RepoConfig, wanted: Sequence[Wanted]) -> list[list[FoundRow]]:
        """Read rows of several views in one round trip: for each of `wanted` a row per entity, in the order asked.

        Raises:
            OnlineStoreDownError: the store cannot be reached.
        """
        ...

    async def write_rows_async(self, config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> int:
        """As `write_rows`, without blocking the event loop."""
        ...

    async def read_rows_async(self, config: RepoConfig, wanted: Sequence[Wanted]) -> list[list[FoundRow]]:
        """As `read_rows`, without blocking the event loop."""
        ...
