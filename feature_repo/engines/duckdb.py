"""The embedded engine: DuckDB in this process."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from feature_repo import inputs as cuts
from feature_repo.feature import MOMENT, Input
from feature_repo.lake import Lake

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

    @contextmanager
    def cut(self, moment: datetime | None, inputs: Collection[Input]) -> Iterator[DuckDBCut]:
        con = ibis.duckdb.connect()
        try:
            yield DuckDBCut(con, self._tables(con, moment, inputs))
        finally:
            con.disconnect()

    def _tables(self, con: Backend, moment: datetime | None, inputs: Collection[Input]) -> dict[Input, Table]:
        """The inputs of events are stored in DuckDB, because several features read each of them."""
        tables: dict[Input, Table] = {
            "items": con.read_parquet(self.lake.items),
            "users": con.read_parquet(self.lake.users),
        }
        if moment is None:
            return tables
        at = ibis.literal(moment.astimezone(UTC)).cast(TIME)
        events = con.read_parquet(self.lake.events).mutate(**{MOMENT: at})
        events = cuts.with_category(events, tables["items"], at)
        if "history" in inputs:
            tables["history"] = con.create_table("history", cuts.history(events), temp=True)
        if "events" in inputs:
            tables["events"] = con.create_table("past", cuts.past(events), temp=True)
        return tables
