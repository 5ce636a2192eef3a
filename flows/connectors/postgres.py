"""A shop's own PostgreSQL: events, items and users from tables or queries, in one snapshot of the database.

The rows come by COPY as text, which the server streams and the validation types, so that memory holds one chunk.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql

from feature_repo import schema as s
from flows.connectors.base import Chunk, Connector
from flows.connectors.columns import Columns, event_columns, table_columns
from flows.errors import MissingColumnError, SourceDownError, SourceMissingError
from infra.settings import SettingsError, settings

CONNECT_WITHIN_S = 10
BLOCK_BYTES = 4 << 20
"""Bytes parsed at once; chunks are put together from these."""


class PostgresSource(Connector):
    """Events from a table or a query at `KAIROS_SOURCE_URL`.

    Args:
        table, query: the events; exactly one of them. A table may be named with its schema.
        items, users: optional tables; columns beyond the contract become `attributes`.
        columns, item_columns, user_columns: our name -> theirs, for names that differ.
        behaviours: value of the `behavior` column -> event type, beside browse, click, cart and purchase.
        new_by: a column of theirs that only grows, e.g. a serial number or a time of insertion: only rows beyond the
            value up to which the last ingest came are read. A row that becomes visible later than one with a higher
            value is missed; reading all of it again, without `new_by`, adds it.

    Raises:
        SettingsError: `KAIROS_SOURCE_URL` is not set, or is no PostgreSQL URL.
        SourceError: the database cannot be reached, or a table or a column is missing; known here, before any row is
            read.
    """

    name: ClassVar[str] = "postgres"
    may_be_empty: ClassVar[bool] = True

    def __init__(
        self,
        *,
        table: str | None = None,
        query: str | None = None,
        items: str | None = None,
        users: str | None = None,
        columns: Mapping[str, str] | None = None,
        item_columns: Mapping[str, str] | None = None,
        user_columns: Mapping[str, str] | None = None,
        behaviours: Mapping[str, str] | None = None,
        new_by: str | None = None,
    ) -> None:
        if bool(table) == bool(query):
            raise SourceMissingError("postgres: name the events with --table NAME or with --query SQL, one of the two")
        self._url = _source_url()
        self._events = _named(table) if table else sql.SQL("({})").format(sql.SQL(query.strip().rstrip(";")))  # type: ignore[union-attr, arg-type]
        self.source = f"postgres {table or 'query'}"
        self.behaviours = {**s.BEHAVIOURS, **(behaviours or {})}
        self._new_by = new_by
        self._marks = Marks(f"{self.source} by {new_by}" if table else f"{query} by {new_by}")
        self._read_to: str | None = None
        with self._connected() as connection:
            header = _header(connection, self._events)
            self._columns = event_columns(self.source, header, columns or {})
            if new_by is not None and new_by not in header:
                raise MissingColumnError(f"{self.source}: no column {new_by!r} to tell new rows by, found {header}")
            self._items = _optional(connection, items, item_columns or {}, s.ITEM_ID)
            self._users = _optional(connection, users, user_columns or {}, s.USER_ID)

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        with self._connected() as connection:
            yield from _chunks(connection, self._events, self._columns, chunk_rows, self._only_new(connection))

    def items(self) -> pa.Table | None:
        return self._whole(self._items)

    def users(self) -> pa.Table | None:
        return self._whole(self._users)

    def notes(self) -> Sequence[str]:
        left_out = ", ".join(map(repr, self._columns.left_out))
        return [f"{self.source}: columns that no event has are left out: {left_out}"] if left_out else []

    def committed(self) -> None:
        if self._read_to is not None:
            self._marks.set(self._read_to)

    def _only_new(self, connection: psycopg.Connection[Any]) -> sql.Composable:
        """The condition for rows that were not read yet; remembers up to where they go."""
        if self._new_by is None:
            return sql.SQL("true")
        column, mark = sql.Identifier(self._new_by), self._marks.get()
        newest = sql.SQL("SELECT max({})::text FROM {} AS source").format(column, self._events)
        row = connection.execute(newest).fetchone()
        self._read_to = row[0] if row else None
        if self._read_to is None:  # no row at all
            return sql.SQL("false")
        until = sql.SQL("{} <= {}").format(column, sql.Literal(self._read_to))
        return until if mark is None else sql.SQL("{} AND {} > {}").format(until, column, sql.Literal(mark))

    def _whole(self, table: tuple[sql.Composable, Columns] | None) -> pa.Table | None:
        if table is None:
            return None
        with self._connected() as connection:
            parts = [chunk.rows for chunk in _chunks(connection, *table, 1 << 20, sql.SQL("true"))]
        return pa.concat_tables(parts) if parts else None

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in one read-only snapshot; times as text in UTC.

        Raises:
            SourceDownError: the database cannot be reached, or refuses.
        """
        try:
            options = f"{self._url.get('options', '')} -c TimeZone=UTC -c DateStyle=ISO"
            with psycopg.connect(
                **{"connect_timeout": CONNECT_WITHIN_S, **self._url, "options": options}
            ) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                yield connection
        except psycopg.Error as error:
            where = f"{self._url.get('host', 'localhost')}:{self._url.get('port', 5432)}"
            raise SourceDownError(
                f"{self.source}: PostgreSQL at {where}, database {self._url.get('dbname', '')!r}, failed: "
                f"{str(error).strip().splitlines()[0]}; see that it runs, and that KAIROS_SOURCE_URL and the names fit"
            ) from error


class Marks:
    """Up to where a source was read, kept in the installation's home."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get(self) -> str | None:
        return self._all().get(self._source)

    def set(self, mark: str) -> None:
        partial = settings().source_marks.with_suffix(".partial")
        partial.write_text(json.dumps({**self._all(), self._source: mark}, indent=1))
        os.replace(partial, settings().source_marks)

    def _all(self) -> dict[str, str]:
        try:
            return json.loads(settings().source_marks.read_text())
        except FileNotFoundError:
            return {}


def _source_url() -> dict[str, Any]:
    """The connection's parameters. The URL is never shown: it may hold a password."""
    example = "KAIROS_SOURCE_URL=postgresql://reader:password@localhost:5432/shop"
    url = settings().source_url
    if not url:
        raise SettingsError(f"KAIROS_SOURCE_URL is not set; the postgres connector needs it, for example {example}")
    scheme, found, rest = url.partition("://")
    try:
        if not found or not scheme.startswith("postgres"):
            raise psycopg.ProgrammingError
        return dict(psycopg.conninfo.conninfo_to_dict(f"postgresql://{rest}"))
    except psycopg.ProgrammingError:
        raise SettingsError(f"KAIROS_SOURCE_URL is not a PostgreSQL URL, expected for example {example}") from None


def _named(table: str) -> sql.Composable:
    return sql.Identifier(*table.split("."))


def _header(connection: psycopg.Connection[Any], relation: sql.Composable) -> list[str]:
    cursor = connection.execute(sql.SQL("SELECT * FROM {} AS source LIMIT 0").format(relation))
    return [column.name for column in cursor.description or ()]


def _optional(
    connection: psycopg.Connection[Any], table: str | None, mapping: Mapping[str, str], id_column: str
) -> tuple[sql.Composable, Columns] | None:
    if table is None:
        return None
    return _named(table), table_columns(f"postgres {table}", _header(connection, _named(table)), mapping, id_column)


def _chunks(
    connection: psycopg.Connection[Any],
    relation: sql.Composable,
    columns: Columns,
    chunk_rows: int,
    condition: sql.Composable,
) -> Iterator[Chunk]:
    wanted = sql.SQL(", ").join(map(sql.Identifier, columns.ours))
    copy_out = sql.SQL("COPY (SELECT {} FROM {} AS source WHERE {}) TO STDOUT (FORMAT csv)")
    names = list(columns.ours.values())
    first, waiting = 1, pa.schema([(name, pa.string()) for name in names]).empty_table()
    with connection.cursor() as cursor, cursor.copy(copy_out.format(wanted, relation, condition)) as copy:
        for batch in _parsed(copy, names):
            waiting = pa.concat_tables([waiting, batch])
            while waiting.num_rows >= chunk_rows:
                yield Chunk(waiting.slice(0, chunk_rows), first)
                first, waiting = first + chunk_rows, waiting.slice(chunk_rows)
    if waiting.num_rows:
        yield Chunk(waiting, first)


def _parsed(copy: psycopg.Copy, names: Sequence[str]) -> Iterator[pa.Table]:
    """The CSV that COPY writes, as text; null is what is empty and not quoted."""
    stream = io.BufferedReader(_CopyStream(copy), BLOCK_BYTES)
    if not stream.peek(1):
        return
    with pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(column_names=names, block_size=BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    ) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


class _CopyStream(io.RawIOBase):
    """What COPY sends, as a file."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._copy.read())
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
