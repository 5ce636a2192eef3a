"""Rows of one source as they are: all of a span of time, or of each key the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
from feast.data_source import DataSource

from feature_repo.offline_store import times
from feature_repo.offline_store.connection import ident, idents
from feature_repo.offline_store.sources import Source


@dataclass(frozen=True)
class Pull:
    """A retrieval between two moments, both included. Columns go by their names in the files."""

    source: DataSource
    repo_path: Path | str | None
    keys: Sequence[str]
    features: Sequence[str]
    timestamp: str
    created: str | None
    start: datetime | None
    end: datetime | None
    latest: bool
    """Only the newest row of each key."""

    def prepare(self, con: duckdb.DuckDBPyConnection) -> str:
        """SQL of the rows, in the order of the files where all are asked for."""
        source = Source.open(con, self.source, self.repo_path, mapped=False)
        time, created = ident(self.timestamp), [self.created] if self.created else []
        kind = source.type_of(self.timestamp)
        where = [times.at_least(time, kind, times.since_epoch(self.start))] if self.start else []
        where += [times.at_most(time, kind, times.since_epoch(self.end))] if self.end else []
        columns = list(dict.fromkeys([*self.keys, *self.features, self.timestamp, *created]))
        rows = f"SELECT {source.select(columns)} FROM {source.sql} WHERE {' AND '.join(where) or 'true'}"
        if not self.latest:
            return rows
        by_key = f"PARTITION BY {idents(self.keys)}" if self.keys else ""
        order = [f"{time} DESC", *(f"{ident(name)} DESC NULLS LAST" for name in created)]
        last = "file_index DESC, file_row_number DESC"
        return f"{rows} QUALIFY row_number() OVER ({by_key} ORDER BY {', '.join(order)}, {last}) = 1"

    def metadata(self, con: duckdb.DuckDBPyConnection) -> None:
        """None: Feast keeps none for such retrievals."""
