"""Anybody's data: CSV or Parquet files with the contract's columns or the short form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from feature_repo import schema as s
from flows.connectors.base import Chunk, Connector
from flows.connectors.columns import Columns, event_columns, table_columns
from flows.connectors.csv_reader import CsvFormat, csv_chunks, csv_header
from flows.connectors.parquet_reader import parquet_chunks, parquet_header
from flows.errors import BrokenFileError

PARQUET_SUFFIXES = (".parquet", ".pq")


class CsvFiles(Connector):
    """Events from a CSV, with items and users from a CSV or Parquet beside it.

    Args:
        path: the events; `.tsv` reads tabs, `.gz`, `.zst` and `.bz2` are unpacked on the way.
        items, users: optional tables; columns beyond the contract become `attributes`.
        columns, item_columns, user_columns: our name -> theirs, for names that differ.
        behaviours: value of the `behavior` column -> event type, beside browse, click, cart and purchase.
        delimiter, encoding: of the CSVs.

    Raises:
        SourceError: a file is missing, empty or lacks a column; known here, before any row is read.
    """

    name: ClassVar[str] = "csv"

    def __init__(
        self,
        path: str | Path,
        *,
        items: str | Path | None = None,
        users: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
        item_columns: Mapping[str, str] | None = None,
        user_columns: Mapping[str, str] | None = None,
        behaviours: Mapping[str, str] | None = None,
        delimiter: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self.path = Path(path)
        self.source = str(path)
        self.behaviours = {**s.BEHAVIOURS, **(behaviours or {})}
        self._form = CsvFormat(delimiter, encoding)
        self._columns = event_columns(self.source, self._header(self.path), columns or {})
        self._items = self._table(items, item_columns or {}, s.ITEM_ID)
        self._users = self._table(users, user_columns or {}, s.USER_ID)

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        return self._chunks(self.path, self._columns, chunk_rows)

    def items(self) -> pa.Table | None:
        return self._read(self._items)

    def users(self) -> pa.Table | None:
        return self._read(self._users)

    def notes(self) -> Sequence[str]:
        left_out = ", ".join(map(repr, self._columns.left_out))
        return [f"{self.source}: columns that no event has are left out: {left_out}"] if left_out else []

    def _header(self, path: Path) -> list[str]:
        return csv_header(path, self._form)

    def _chunks(self, path: Path, columns: Columns, chunk_rows: int) -> Iterator[Chunk]:
        return csv_chunks(path, self._form, columns, chunk_rows)

    def _table(
        self, path: str | Path | None, mapping: Mapping[str, str], id_column: str
    ) -> tuple[Path, Columns] | None:
        if path is None:
            return None
        parquet = Path(path).suffix in PARQUET_SUFFIXES
        header = parquet_header(Path(path)) if parquet else csv_header(Path(path), self._form)
        return Path(path), table_columns(str(path), header, mapping, id_column)

    def _read(self, table: tuple[Path, Columns] | None) -> pa.Table | None:
        if table is None:
            return None
        path, columns = table
        parquet = path.suffix in PARQUET_SUFFIXES
        whole = parquet_chunks(path, columns, 1 << 20) if parquet else csv_chunks(path, self._form, columns, 1 << 20)
        parts = [unbroken(path, chunk) for chunk in whole]
        return pa.concat_tables(parts) if parts else None


class ParquetFiles(CsvFiles):
    """Events from a Parquet file; everything else as for CSV."""

    name: ClassVar[str] = "parquet"

    def _header(self, path: Path) -> list[str]:
        return parquet_header(path)

    def _chunks(self, path: Path, columns: Columns, chunk_rows: int) -> Iterator[Chunk]:
        return parquet_chunks(path, columns, chunk_rows)


def unbroken(path: Path, chunk: Chunk) -> pa.Table:
    """An items or users table is read whole or not at all."""
    if chunk.broken:
        row = chunk.broken[0]
        raise BrokenFileError(
            f"{path}: row {row.number} has {row.found} fields, the header has {row.expected}: {row.text[:200]!r}; "
            f"correct the row, or quote values that hold the delimiter"
        )
    return chunk.rows


def format_of(path: str | Path) -> str:
    """Name of the connector that reads a file, by its suffix."""
    return ParquetFiles.name if Path(path).suffix in PARQUET_SUFFIXES else CsvFiles.name
