"""Parquet, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from feature_repo.offline_store.connection import text


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A path beside the target, moved over it once it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        yield beside
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, put in its place once it is filled."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    beside.mkdir()
    try:
        yield beside
        if target.exists():
            shutil.rmtree(target)
        os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def query(con: duckdb.DuckDBPyConnection, sql: str, target: Path) -> None:
    """Write a query's rows, in their order, without holding them."""
    with replaced(target) as path:
        con.execute(f"COPY ({sql}) TO {text(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def batches(reader: pa.RecordBatchReader, target: Path) -> None:
    """Write batches as they come."""
    with replaced(target) as path, pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


def append(con: duckdb.DuckDBPyConnection, rows: pa.Table, target: Path) -> None:
    """Add rows behind those of a file, in its types. The file is written anew, without holding it."""
    con.register("new_rows", rows.cast(pq.read_schema(target)))
    query(con, f"SELECT * FROM read_parquet({text(str(target))}) UNION ALL SELECT * FROM new_rows", target)


def log(data: pa.Table | Path, folder: Path, partition_by: list[str] | None) -> None:
    """Add files with the rows to a folder; a path is itself a folder of Parquet, and is not held."""
    rows = ds.dataset(data, format="parquet") if isinstance(data, Path) else data
    ds.write_dataset(
        rows,
        folder,
        format="parquet",
        basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
        partitioning=partition_by,
        partitioning_flavor="hive" if partition_by else None,
        existing_data_behavior="overwrite_or_ignore",
    )
