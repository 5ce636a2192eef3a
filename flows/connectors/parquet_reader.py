"""Parquet in a stream of chunks, types as the file has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.connectors.base import Chunk
from flows.connectors.columns import Columns
from flows.errors import BrokenEncodingError, BrokenFileError, EmptySourceError, SourceMissingError


def parquet_header(path: Path) -> list[str]:
    """The file's column names.

    Raises:
        SourceMissingError, EmptySourceError, BrokenFileError
    """
    if not path.is_file():
        raise SourceMissingError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise EmptySourceError(f"{path}: the file is empty, expected Parquet")
    with _readable(path):
        return list(pq.read_schema(path).names)


def parquet_chunks(path: Path, columns: Columns, chunk_rows: int) -> Iterator[Chunk]:
    """The file's rows under our names.

    Raises:
        BrokenFileError: the file is cut short or damaged; names the row from which on it can't be read.
        BrokenEncodingError: a text column holds bytes that aren't UTF-8.
    """
    first = 1
    with _readable(path), pq.ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=chunk_rows, columns=list(columns.ours))
        while True:
            with _readable(path, first):
                batch = next(batches, None)
            if batch is None:
                return
            rows = pa.Table.from_batches([batch]).select(list(columns.ours))
            rows = _text(path, rows.rename_columns(list(columns.ours.values())), first)
            yield Chunk(rows, first, done=(first - 1 + rows.num_rows) / file.metadata.num_rows)
            first += rows.num_rows


@contextmanager
def _readable(path: Path, row: int | None = None) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        where = f" from row {row} on" if row else ""
        raise BrokenFileError(
            f"{path}: not readable as Parquet{where}, {path.stat().st_size} bytes: {error}; "
            f"was the file copied whole? Write or fetch it again"
        ) from error


def _text(path: Path, rows: pa.Table, first: int) -> pa.Table:
    """Binary columns as text: some writers leave out that they are."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            try:
                rows = rows.set_column(index, field.name, rows.column(index).cast(pa.string()))
            except pa.ArrowInvalid as error:
                raise BrokenEncodingError(
                    f"{path}: column {field.name!r}, rows from {first} on: bytes that aren't UTF-8 text"
                ) from error
    return rows
