"""Feast's registry as this code writes it: one process at a time, and a whole set of definitions or none of it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feast import FeatureStore
from feast.base_feature_view import BaseFeatureView
from sqlalchemy import Connection, Engine, text

from feature_repo.disk import full_disk_named
from feature_repo.evolution import Change, changes, refuse_to_break
from feature_repo.file_lock import WAIT_S, busy, file_lock
from infra.settings import Settings

_HOLDER = text(
    "SELECT application_name, client_addr, query_start FROM pg_stat_activity JOIN pg_locks USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(:name, 0)"
)


def registry_changes(feast: FeatureStore, objects: Sequence[Any]) -> list[Change]:
    """What `register` would change, with the registry read anew."""
    feast.refresh_registry()
    return changes(_registered(feast), [o for o in objects if isinstance(o, BaseFeatureView)])


def register(
    feast: FeatureStore, settings: Settings, objects: Sequence[Any], live: Mapping[str, Collection[str]]
) -> list[Change]:
    """Make the registry hold these definitions, and no view that an earlier run of this made from another.

    Args:
        live: bundle in service -> features that it reads, as `view:feature`.

    Returns:
        What changed.

    Raises:
        LiveFeatureError: a bundle in service reads what would go; nothing was changed.
        FeaturesBusyError: another process writes the registry.
        DiskFullError: no room; the registry is as it was.
    """
    with one_registry_writer(feast, settings):
        found = registry_changes(feast, objects)
        refuse_to_break(found, live)
        gone = {change.view for change in found if change.kind == "removed" and change.field is None}
        views = [view for view in _registered(feast) if view.name in gone]
        sources = [view.batch_source for view in views]
        try:
            with full_disk_named(_file(settings), "the registry is as it was"), _whole(feast):
                feast.apply(list(objects), objects_to_delete=[*views, *sources], partial=False)
        finally:
            # Feast changes its copy in memory first: after an error it must not be written by whoever commits next.
            feast.refresh_registry()
    return found


@contextmanager
def one_registry_writer(feast: FeatureStore, settings: Settings, wait_s: float = WAIT_S) -> Iterator[None]:
    """Nobody else changes the registry. In PostgreSQL the lock is the database's, beside a file it is a file's.

    Raises:
        FeaturesBusyError: somebody does; names the process and since when.
    """
    if settings.registry_url:
        with _advisory_lock(feast.registry.write_engine, f"kairos {settings.project}", wait_s):
            yield
    else:
        file = _file(settings)
        with file_lock(file.with_name(f"{file.name}.lock"), f"Feast's registry {file}", wait_s):
            yield


def _registered(feast: FeatureStore) -> list[BaseFeatureView]:
    return [*feast.list_batch_feature_views(), *feast.list_on_demand_feature_views()]


def _file(settings: Settings) -> Path:
    return Path(settings.registry) if settings.registry else settings.feast / "registry.db"


@contextmanager
def _advisory_lock(engine: Engine, name: str, wait_s: float) -> Iterator[None]:
    """Held by a connection of its own, so that it goes with the process."""
    deadline = time.monotonic() + wait_s
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        connection.execute(text("SELECT set_config('application_name', :who, false)"), {"who": who[:63]})
        lock = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        try:
            while not connection.execute(lock, {"name": name}).scalar():
                if time.monotonic() >= deadline:
                    raise busy(f"Feast's registry, project {name!r}", _holder(connection, name), wait_s)
                time.sleep(0.05)
            yield
        finally:
            connection.invalidate()  # not back to the pool: the lock and the name are the connection's


def _holder(connection: Connection, name: str) -> str:
    row = connection.execute(_HOLDER, {"name": name}).first()
    if row is None:
        return "another process"
    application, address, since = row
    return f"{application}{f' ({address})' if address else ''} since {since:%Y-%m-%d %H:%M:%S %Z}"


@contextmanager
def _whole(feast: FeatureStore) -> Iterator[None]:
    """All that Feast writes in between becomes visible at the end, or none of it does.

    Its file registry commits once; its SQL registry commits each object by itself, so a crash would leave half.
    """
    registry = feast.registry
    if not isinstance(getattr(registry, "write_engine", None), Engine):
        yield
        return
    engines = registry.write_engine, registry.read_engine
    with registry.write_engine.begin() as connection:
        registry.write_engine = registry.read_engine = _OneTransaction(connection, engines[0])
        try:
            yield
        finally:
            registry.write_engine, registry.read_engine = engines


class _OneTransaction:
    """Stands in for an engine: what one thread begins is a part of one transaction, other threads get their own."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._thread = threading.get_ident()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        if threading.get_ident() != self._thread:
            with self._engine.begin() as connection:
                yield connection
            return
        with self._connection.begin_nested():
            yield self._connection
