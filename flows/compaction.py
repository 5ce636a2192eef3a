"""Many small event files become few large ones: the same rows in the same order, read faster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import schema as s
from feature_repo.disk import full_disk_named
from flows.lake_layout import begin_generation, drop_superseded, finish_generation, settled_events
from flows.lake_writer import lake_lock
from infra.settings import Settings

TARGET_ROWS: Final = 5_000_000
"""A file is filled up to this. Of rows and not of bytes, as those stay what they are when files are merged: a second
compaction finds nothing to do."""
_MERGED: Final = ".merged"
"""In the name of a merged file, behind the name of the last file that is in it: so it stands where they stood."""


@dataclass(frozen=True)
class Compacted:
    """What a compaction did to the event files. The rows are the same before and after."""

    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int


def compact(settings: Settings, *, now: datetime, wait_s: float = 0.0) -> Compacted:
    """Merge event files that follow one another, up to `TARGET_ROWS` in a file; a second run finds nothing to do.

    However it ends, the lake has all of its events, each once: the merged files lie in a folder of their own that takes
    the place of the old one in one step. Who reads the old one meanwhile reads it to the end; it is removed by a
    compaction `lake_layout.READ_FOR` later. Needs room for the merged files until then, and memory for
    `chunk_rows` rows.

    Args:
        now: UTC; what the age of folders of before is measured by.
        wait_s: how long to wait for another writer.

    Raises:
        LakeBusyError: another process writes the lake.
        DiskFullError: no room; the lake is as it was.
    """
    lake = settings.lake
    with lake_lock(settings, wait_s):
        events = settled_events(lake)
        drop_superseded(events, now)
        before = _files(events)
        rows = [pq.read_metadata(file).num_rows for file in before]
        after = before
        runs = _runs(before, rows)
        if any(len(run) > 1 for run in runs):
            begun = begin_generation(events)
            try:
                with full_disk_named(begun, "the lake is as it was"):
                    _fill(begun, events, runs, settings.chunk_rows)
                    after = _files(finish_generation(lake, events, begun, now))
            except Exception:
                shutil.rmtree(begun, ignore_errors=True)
                raise
        return Compacted(len(before), len(after), sum(rows), _bytes(before), _bytes(after))


def _files(folder: Path) -> list[Path]:
    """In the order in which they are read."""
    return sorted(folder.glob("*.parquet"), key=lambda file: file.name)


def _bytes(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _runs(files: Sequence[Path], rows: Sequence[int]) -> list[list[Path]]:
    """The files in order, those together that become one. The first file of a run would not have fitted into the run
    before, so that merging leads to the same runs again."""
    runs: list[list[Path]] = []
    room = 0
    for file, count in zip(files, rows, strict=True):
        if not runs or count > room:
            runs.append([])
            room = TARGET_ROWS
        runs[-1].append(file)
        room -= count
    return runs


def _fill(begun: Path, events: Path, runs: Sequence[Sequence[Path]], chunk_rows: int) -> None:
    """The files of the next generation: merged ones, and all else that the folder holds as it is."""
    merged = [run for run in runs if len(run) > 1]
    gone = {file.name for run in merged for file in run}
    for file in events.iterdir():
        if file.name not in gone:
            _link(file, begun / file.name)
    for run in merged:
        _merge(run, begun / f"{run[-1].stem.removesuffix(_MERGED)}{_MERGED}.parquet", chunk_rows)


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # not every file system can; a full disk fails the copy, too
        shutil.copy2(file, to)


def _merge(files: Sequence[Path], to: Path, chunk_rows: int) -> None:
    schema = _schema(files)
    with pq.ParquetWriter(to, schema, compression="zstd") as writer:
        for rows in _chunks(files, schema, chunk_rows):
            writer.write_table(rows, row_group_size=chunk_rows)


def _schema(files: Sequence[Path]) -> pa.Schema:
    """The contract, and what columns the files have that this code does not know: of another version, or extra."""
    known = set(s.EVENTS.names)
    extra = [
        pa.schema([field.with_nullable(True) for field in pq.read_schema(file) if field.name not in known])
        for file in files
    ]
    return pa.schema([*s.EVENTS, *pa.unify_schemas(extra, promote_options="permissive")])


def _chunks(files: Sequence[Path], schema: pa.Schema, chunk_rows: int) -> Iterator[pa.Table]:
    """The files' rows in order, `chunk_rows` at a time however small the files."""
    held: list[pa.Table] = []
    count = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=chunk_rows):
                held.append(_as(pa.Table.from_batches([batch]), schema))
                count += batch.num_rows
                if count >= chunk_rows:
                    rows = pa.concat_tables(held)
                    yield rows.slice(0, chunk_rows)
                    held, count = [rows.slice(chunk_rows)], count - chunk_rows
    if count:
        yield pa.concat_tables(held)


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Null where the file is from before a column was in the contract."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
