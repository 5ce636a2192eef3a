"""The embedded engine: DuckDB in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Final

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from feature_repo import inputs as cuts
from feature_repo import schema as s
from feature_repo.disk import full_disk_named
from feature_repo.engines.on_disk import MEMORY, SLICE_EVENTS, UserSlices, on_disk, text, user_slices
from feature_repo.engines.scratch import scratch_folder
from feature_repo.feature import MOMENT, Input
from feature_repo.lake import Lake, rows_sql

TIME: Final = "timestamp('UTC', 6)"
"""Microseconds, as in the lake."""
_MAKERS: Final[dict[Input, Callable[[Table], Table]]] = {"history": cuts.history, "events": cuts.past}


@dataclass(frozen=True)
class DuckDBCut:
    """The inputs of one moment in a connection of their own."""

    con: Backend
    tables: dict[Input, Table]
    slices: UserSlices | None = None
    """The pieces of `history`; None: it is whole."""

    def write(self, rows: Table, file: Path) -> int:
        rows = rows.mutate(**{MOMENT: rows[MOMENT].cast(TIME)})
        if self.slices and self.slices.are_read_by(rows):
            self.slices.write(rows, file)
        else:
            self.con.to_parquet(rows, file, compression="zstd")
        return int(pq.read_metadata(file).num_rows)


@dataclass(frozen=True)
class DuckDBEngine:
    """Reads the lake's files; needs memory for one moment at a time, and of that for `slice_events`."""

    lake: Lake
    name: str = "duckdb"
    fresh: pa.Table | None = None
    """Events that the lake does not hold yet, of the contract's schema."""
    slice_events: int = SLICE_EVENTS
    """Where there are more, what several features read is kept on disk meanwhile, and not in memory."""
    scratch: Path | None = None
    """Where on disk; None: where the system keeps such things, which may be memory again."""

    @contextmanager
    def cut(self, moment: datetime | None, inputs: Collection[Input]) -> Iterator[DuckDBCut]:
        pieces = ceil(self.lake.events_until([moment])[0] / self.slice_events) if moment else 0
        with ExitStack() as opened:
            folder = opened.enter_context(scratch_folder(self.scratch)) if pieces > 1 else None
            con = ibis.duckdb.connect()
            opened.callback(con.disconnect)  # before its folder goes
            tables: dict[Input, Table] = {
                "items": _view(con, "all_items", rows_sql(str(self.lake.items), s.ITEMS)),
                "users": _view(con, "all_users", rows_sql(str(self.lake.users), s.USERS)),
            }
            if moment is None:
                yield DuckDBCut(con, tables)
                return
            events = self._events(con, moment, tables["items"])
            if folder is None:
                yield DuckDBCut(con, tables | _in_memory(con, events, inputs))
            else:
                yield _on_disk(con, tables, events, inputs, pieces, folder)

    def _events(self, con: Backend, moment: datetime, items: Table) -> Table:
        """All of them, with the moment and the category that their item had then."""
        at = ibis.literal(moment.astimezone(UTC)).cast(TIME)
        events = _view(con, "all_events", self.lake.events_sql)
        if self.fresh is not None:
            con.con.register("fresh", self.fresh)  # Ibis's own way stumbles over DuckDB 2's DROP VIEW
            events = events.union(con.table("fresh"))
        return cuts.with_category(events.mutate(**{MOMENT: at}), items, at)


def _in_memory(con: Backend, events: Table, inputs: Collection[Input]) -> dict[Input, Table]:
    """An input of events that several features read is stored in DuckDB; for one feature it is a view, of which only
    the columns that the feature reads are computed."""
    tables: dict[Input, Table] = {}
    readers = Counter(inputs)
    for name, cut in _MAKERS.items():
        if readers[name] == 1:
            tables[name] = con.create_view(f"cut_{name}", cut(events))
        elif readers[name]:
            tables[name] = con.create_table(f"cut_{name}", cut(events), temp=True)
    return tables


def _on_disk(
    con: Backend, tables: dict[Input, Table], events: Table, inputs: Collection[Input], pieces: int, folder: Path
) -> DuckDBCut:
    """The same in files, and `history` in pieces, whoever reads it: its features are what takes the memory."""
    con.con.execute(f"SET temp_directory = {text(folder / 'spill')}")
    con.con.execute(f"SET memory_limit = '{MEMORY}'")
    con.con.execute("SET preserve_insertion_order = false")  # rows are in no order, and to keep one takes memory
    readers = Counter(inputs)
    with full_disk_named(folder, "the snapshots written before it are whole, and Feast's registry is as it was"):
        slices = user_slices(con, events, pieces, folder) if readers["history"] else None
        made: dict[Input, Table] = {"history": slices.table} if slices else {}
        if readers["events"] == 1:
            made["events"] = con.create_view("cut_events", cuts.past(events))
        elif readers["events"]:
            made["events"] = on_disk(con, cuts.past(events), "cut_events", folder)
    return DuckDBCut(con, tables | made, slices)


def _view(con: Backend, name: str, sql: str) -> Table:
    # Not through Ibis: it would take the SQL apart.
    con.con.execute(f"CREATE TEMP VIEW {name} AS {sql}")
    return con.table(name)
