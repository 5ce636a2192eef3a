"""The embedded engine: DuckDB in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from feature_repo import inputs as cuts
from feature_repo import schema as s
from feature_repo.feature import MOMENT, Input
from feature_repo.lake import Lake, rows_sql

TIME: Final = "timestamp('UTC', 6)"
"""Microseconds, as in the lake."""


@dataclass(frozen=True)
class DuckDBCut:
    """The inputs of one moment in a connection of their own."""

    con: Backend
    tables: dict[Input, Table]

    def write(self, rows: Table, file: Path) -> int:
        rows = rows.mutate(**{MOMENT: rows[MOMENT].cast(TIME)})
        self.con.to_parquet(rows, file, compression="zstd")
        return int(self.con.read_parquet(file).count().execute())


@dataclass(frozen=True)
class DuckDBEngine:
    """Reads the lake's files; needs memory for one moment at a time."""

    lake: Lake
    name: str = "duckdb"
    fresh: pa.Table | None = None
    """Events that the lake does not hold yet, of the contract's schema."""

    @contextmanager
    def cut(self, moment: datetime | None, inputs: Collection[Input]) -> Iterator[DuckDBCut]:
        con = ibis.duckdb.connect()
        try:
            yield DuckDBCut(con, self._tables(con, moment, inputs))
        finally:
            con.disconnect()

    def _tables(self, con: Backend, moment: datetime | None, inputs: Collection[Input]) -> dict[Input, Table]:
        """An input of events that several features read is stored in DuckDB; for one feature it is a view, of which
        only the columns that the feature reads are computed."""
        tables: dict[Input, Table] = {
            "items": _view(con, "all_items", rows_sql(str(self.lake.items), s.ITEMS)),
            "users": _view(con, "all_users", rows_sql(str(self.lake.users), s.USERS)),
        }
        if moment is None:
            return tables
        at = ibis.literal(moment.astimezone(UTC)).cast(TIME)
        events = _view(con, "all_events", self.lake.events_sql)
        if self.fresh is not None:
            con.con.register("fresh", self.fresh)  # Ibis's own way stumbles over DuckDB 2's DROP VIEW
            events = events.union(con.table("fresh"))
        events = events.mutate(**{MOMENT: at})
        events = cuts.with_category(events, tables["items"], at)
        readers = Counter(inputs)
        makers: dict[Input, Callable[[Table], Table]] = {"history": cuts.history, "events": cuts.past}
        for name, cut in makers.items():
            if readers[name] == 1:
                tables[name] = con.create_view(f"cut_{name}", cut(events))
            elif readers[name]:
                tables[name] = con.create_table(f"cut_{name}", cut(events), temp=True)
        return tables


def _view(con: Backend, name: str, sql: str) -> Table:
    # Not through Ibis: it would take the SQL apart.
    con.con.execute(f"CREATE TEMP VIEW {name} AS {sql}")
    return con.table(name)
