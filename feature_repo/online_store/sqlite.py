"""SQLite as the online store: a table per view, a row per entity, a column per feature.

Feast's own class writes a row per feature, which makes a catalogue of 92,000 items a million rows, stores the
timestamps in whole seconds, lets an older row take a newer one's place and commits view by view. This one keeps to the
rule of `base`. Readers read on while somebody writes (WAL). Use it from any Feast project by its class path:

    online_store:
        type: feature_repo.online_store.sqlite.RowsSqliteOnlineStore
        path: data/online.db
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel

from feature_repo.disk import full_disk_named
from feature_repo.errors import OnlineStoreDownError
from feature_repo.online_store.base import FoundRow, Row, Wanted

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
KEYS_AT_ONCE: Final = 10_000
"""SQLite takes at most 32,766 parameters in one query."""
WAIT_FOR_WRITER_S: Final = 30.0
"""One writer at a time: the service waits this long for a materialisation to commit."""


class RowsSqliteOnlineStoreConfig(FeastConfigBaseModel):
    """A file."""

    type: Literal["feature_repo.online_store.sqlite.RowsSqliteOnlineStore"]
    path: str
    """Absolute, or relative to the repository."""


class RowsSqliteOnlineStore(OnlineStore):
    """Reads and writes whole rows; safe to use from several threads and processes."""

    def __init__(self) -> None:
        # One connection per thread: on a shared one, a thread's commit would commit what another is in the midst of.
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []

    # -- the interface of `base` ---------------------------------------------------------------------

    def write_rows(self, config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> int:
        with self._transaction(config) as connection:
            connection.execute("BEGIN IMMEDIATE")
            return sum(_write(connection, config, view, rows) for view, rows in batch)

    async def write_rows_async(self, config: RepoConfig, batch: Sequence[tuple[FeatureView, Sequence[Row]]]) -> int:
        return await asyncio.to_thread(self.write_rows, config, batch)

    def read_rows(self, config: RepoConfig, wanted: Sequence[Wanted]) -> list[list[FoundRow]]:
        with self._transaction(config) as connection:
            connection.execute("BEGIN")  # all views as of one commit
            return [_read(connection, config, view, entities, features) for view, entities, features in wanted]

    async def read_rows_async(self, config: RepoConfig, wanted: Sequence[Wanted]) -> list[list[FoundRow]]:
        return await asyncio.to_thread(self.read_rows, config, wanted)

    # -- Feast's interface ---------------------------------------------------------------------------

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        self.write_rows(config, [(table, data)])
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[FoundRow]:
        return self.read_rows(config, [(table, entity_keys, requested_features)])[0]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[FoundRow]:
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """A table for every view, a column for every feature; all of it or nothing."""
        with self._transaction(config) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for view in tables_to_delete:
                connection.execute(f"DROP TABLE IF EXISTS {_table(config, view)}")
            for view in tables_to_keep:
                _fit(connection, _table(config, view), [feature.name for feature in view.features])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        self._close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{_path(config)}{suffix}").unlink(missing_ok=True)

    async def close(self) -> None:
        self._close()

    @contextmanager
    def _transaction(self, config: RepoConfig) -> Iterator[sqlite3.Connection]:
        """This thread's connection; what is done on it is committed at the end, or undone."""
        try:
            with _usable(config), self._connection(config) as connection:
                yield connection
        except BaseException:
            # A file that was replaced is seen by a new connection only.
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            self._open.remove(connection)
            connection.close()

    def _close(self) -> None:
        while self._open:
            self._open.pop().close()
        self._local = threading.local()

    def _connection(self, config: RepoConfig) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            path = _path(config)
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=WAIT_FOR_WRITER_S, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")  # no loss of consistency; what is lost is materialised anew
            self._local.connection = connection
            self._open.append(connection)
        return connection


@contextmanager
def _usable(config: RepoConfig) -> Iterator[None]:
    """Turns SQLite's own errors into those that say which file and what to do.

    Raises:
        DiskFullError: there is no room; what was written before is whole.
        OnlineStoreDownError: the file is locked for too long, damaged, or not to be opened.
    """
    path = _path(config)
    try:
        with full_disk_named(path, "the rows written before are whole"):
            yield
    except (sqlite3.Error, OSError) as error:
        raise OnlineStoreDownError(
            f"the online store, SQLite's file {path}, failed: {error}; see that it can be written and that nobody "
            f"holds it. It can also be removed: `kairos features` makes it anew"
        ) from error


def _path(config: RepoConfig) -> Path:
    return Path(config.repo_path or ".") / config.online_store.path


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(config: RepoConfig, view: FeatureView) -> str:
    """Not Feast's own name: a file that Feast's class made has tables of another form under that."""
    return _quoted(
        compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning) + "_rows"
    )


def _column(feature: str) -> str:
    return _quoted(f"f_{feature}")


def _fit(connection: sqlite3.Connection, table: str, features: Sequence[str]) -> None:
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table} (entity_key BLOB PRIMARY KEY, event_us INTEGER NOT NULL) STRICT"
    )
    there = {_quoted(name) for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
    for column in map(_column, features):
        if column not in there:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} BLOB")


def _write(connection: sqlite3.Connection, config: RepoConfig, view: FeatureView, rows: Sequence[Row]) -> int:
    features = [feature.name for feature in view.features]
    columns = ["event_us", *map(_column, features)]
    statement = (
        f"INSERT INTO {_table(config, view)} AS stored (entity_key, {', '.join(columns)}) "
        f"VALUES (?{', ?' * len(columns)}) ON CONFLICT (entity_key) DO UPDATE SET "
        f"{', '.join(f'{column} = excluded.{column}' for column in columns)} WHERE excluded.event_us >= stored.event_us"
    )
    version = config.entity_key_serialization_version
    return connection.executemany(
        statement,
        (
            (
                serialize_entity_key(entity, version),
                _microseconds(at),
                *(values[name].SerializeToString() if name in values else None for name in features),
            )
            for entity, values, at, _ in rows
        ),
    ).rowcount


def _read(
    connection: sqlite3.Connection,
    config: RepoConfig,
    view: FeatureView,
    entities: Sequence[EntityKey],
    features: Sequence[str] | None,
) -> list[FoundRow]:
    names = list(features or (feature.name for feature in view.features))
    keys = [serialize_entity_key(entity, config.entity_key_serialization_version) for entity in entities]
    select = f"SELECT entity_key, event_us, {', '.join(map(_column, names))} FROM {_table(config, view)}"
    found: dict[bytes, FoundRow] = {}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        part = keys[start : start + KEYS_AT_ONCE]
        rows = connection.execute(f"{select} WHERE entity_key IN (?{', ?' * (len(part) - 1)})", part)
        for key, at, *values in rows:
            row = {name: Value.FromString(value or b"") for name, value in zip(names, values, strict=True)}
            found[key] = EPOCH + at * MICROSECOND, row
    return [found.get(key, (None, None)) for key in keys]


def _microseconds(at: datetime) -> int:
    """Epoch microseconds; exact, where a float of seconds would round."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
