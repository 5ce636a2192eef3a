"""The only way into the lake: one writer at a time, whole files, renamed into place."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo import schema as s
from feature_repo.batch import Batch, batch_file
from feature_repo.file_lock import locked_file, try_lock
from flows.errors import LakeBusyError
from flows.lake_layout import settled_events, sync
from flows.staging import EVENTS_FILE, ITEMS_FILE, TABLES_FOLDER, USERS_FILE, Staged
from infra.settings import Settings

LOCK_FILE = "lake.lock"
_BATCH_FILE = "batch.json"

log = logging.getLogger("kairos.lake")


@dataclass(frozen=True)
class Committed:
    """Rows that a batch added, and rows that the lake had before."""

    accepted: int
    already_known: int


@contextmanager
def lake_lock(settings: Settings, wait_s: float = 0.0) -> Iterator[None]:
    """Be the lake's only writer. The lock goes with the process, however that ends.

    Args:
        wait_s: how long to wait for another writer.

    Raises:
        LakeBusyError: another writer holds the lock; names its process.
    """
    with locked_file(settings.home / LOCK_FILE, lambda file: _take(file, settings, wait_s)) as file:
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: IO[str], settings: Settings, wait_s: float) -> None:
    if try_lock(file.fileno()):
        return
    if wait_s:
        log.warning("%s: this one waits for up to %.0f minutes", _busy(file, settings), wait_s / 60)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if try_lock(file.fileno()):
            return
    raise LakeBusyError(f"{_busy(file, settings)}: wait for it to end and run this again")


def _busy(file: IO[str], settings: Settings) -> str:
    file.seek(0)
    return f"process {file.read().strip() or '?'} is writing {settings.lake}, one writer at a time"


def commit_batch(folder: Path, settings: Settings) -> Committed:
    """Take a staged batch into the lake: tables first, events last, each by one rename.

    Events whose id the lake has are dropped; a row about an item or user replaces one of the same time. The caller
    holds the lock.

    Args:
        folder: from `stage_batch`; gone afterwards.
    """
    lake = settings.lake
    events = settled_events(lake)
    tables = sorted((folder / TABLES_FOLDER).glob("*.parquet"))
    moves = [(table, lake / TABLES_FOLDER / table.name) for table in tables]
    for file, schema, id_column in ((ITEMS_FILE, s.ITEMS, s.ITEM_ID), (USERS_FILE, s.USERS, s.USER_ID)):
        if (folder / file).exists():
            _merge(folder / file, lake / file, schema, id_column)
            moves.append((folder / file, lake / file))
    committed = _new_events(folder / EVENTS_FILE, events)
    if committed.accepted:
        moves.append((folder / EVENTS_FILE, events / f"{folder.name}.parquet"))
    if moves:  # told of before it is there: no event is without its batch
        _batch(Staged.load(folder), committed).save(folder / _BATCH_FILE)
        moves.insert(0, (folder / _BATCH_FILE, batch_file(lake, folder.name)))
    for source, target in moves:
        _put(source, target)
    shutil.rmtree(folder, ignore_errors=True)
    return committed


def _batch(staged: Staged, committed: Committed) -> Batch:
    return Batch(
        batch_id=staged.batch_id,
        source=staged.source,
        run=staged.run,
        ingested_at=staged.staged_at,
        read=staged.read,
        accepted=committed.accepted,
        already_known=committed.already_known,
        rejected=staged.rejected,
        items=staged.items,
        users=staged.users,
    )


def _new_events(staged: Path, events: Path) -> Committed:
    """Drop from the staged file the events that the lake has."""
    total = pq.read_metadata(staged).num_rows
    if not any(events.glob("*.parquet")):
        return Committed(total, 0)
    with duckdb.connect() as con:
        known = con.sql(
            f"SELECT {s.EVENT_ID} FROM read_parquet('{_quoted(staged)}') "
            f"WHERE {s.EVENT_ID} IN (SELECT {s.EVENT_ID} FROM read_parquet('{_quoted(events)}/*.parquet'))"
        ).to_arrow_table()
    if 0 < known.num_rows < total:
        ids = known.column(0).combine_chunks()
        fresh = staged.with_suffix(".new")
        with pq.ParquetFile(staged) as file, pq.ParquetWriter(fresh, s.EVENTS, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                writer.write_table(rows.filter(pc.invert(pc.is_in(rows.column(s.EVENT_ID), ids))))
        os.replace(fresh, staged)
    return Committed(total - known.num_rows, known.num_rows)


def _merge(staged: Path, current: Path, schema: pa.Schema, id_column: str) -> None:
    """The lake's rows and the staged ones in the staged file, one per id and time, the staged one winning.

    Older rows stay: what a user or an item was then is what a training cut of then should see.
    """
    parts = [(0, current)] if current.exists() else []
    parts.append((1, staged))
    union = " UNION ALL BY NAME ".join(
        f"SELECT *, {order} AS origin, file_row_number AS place "
        f"FROM read_parquet('{_quoted(path)}', file_row_number = true)"
        for order, path in parts
    )
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        merged = con.sql(
            f"SELECT * FROM ({union}) QUALIFY row_number() OVER "
            f"(PARTITION BY {id_column}, {s.TIMESTAMP} ORDER BY origin DESC, place DESC) = 1 "
            f"ORDER BY {id_column}, {s.TIMESTAMP}"
        ).to_arrow_table()
    fresh = staged.with_suffix(".new")
    pq.write_table(merged.select(schema.names).cast(schema), fresh, compression="zstd")
    os.replace(fresh, staged)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _put(source: Path, target: Path) -> None:
    """Rename into place; on the disk before and after, so that a power cut leaves the old file or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sync(source)
    os.replace(source, target)
    sync(target.parent)
