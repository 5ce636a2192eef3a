"""The lake as the feature engine sees it: accepted events and tables. Ingest alone adds to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import schema as s
from feature_repo.errors import EmptyLakeError

EVENTS_LINK: Final = "events"
"""In the lake: leads to the folder of the event files."""
GENERATIONS: Final = "generations"
"""In the lake: the folders that `EVENTS_LINK` may lead to, numbered; see `flows.lake_layout`."""

_SQL_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.map_(pa.string(), pa.string()): "MAP(VARCHAR, VARCHAR)",
}


@dataclass(frozen=True)
class Lake:
    """Paths of the lake's tables under its folder, and what is in them."""

    root: Path

    @property
    def events_folder(self) -> Path:
        """The folder of the event files as of now, by its own name and not by the link that leads there.

        A compaction makes another folder and turns the link. Who has listed one folder reads its files to the end:
        they stay for hours.
        """
        link = self.root / EVENTS_LINK
        try:
            return link.resolve(strict=True)
        except FileNotFoundError:  # nothing was ingested yet, or the writer is just moving a folder of before links
            return max(self.generations(), default=link)

    def generations(self) -> list[Path]:
        """The numbered folders of event files, whole ones alone, in any order."""
        return [path for path in (self.root / GENERATIONS).glob("*") if path.name.isdigit()]

    @property
    def events(self) -> str:
        """Glob of the event files; they need not have the same columns, see `rows_sql`."""
        return str(self.events_folder / "*.parquet")

    @property
    def events_sql(self) -> str:
        """SQL of all events, by the contract's columns."""
        return rows_sql(self.events, s.EVENTS)

    @property
    def _all_events(self) -> str:
        return f"({self.events_sql})"

    @property
    def items(self) -> Path:
        return self.root / "items.parquet"

    @property
    def users(self) -> Path:
        return self.root / "users.parquet"

    def prepare(self) -> None:
        """Make the optional tables exist, empty, so that every expression has what it reads.

        Raises:
            EmptyLakeError: no event was ever ingested.
        """
        if not any(self.events_folder.glob("*.parquet")):
            raise EmptyLakeError(f"no events under {self.root}: run `kairos ingest EVENTS.csv` or `kairos demo` first")
        for path, schema in ((self.items, s.ITEMS), (self.users, s.USERS)):
            if not path.exists():
                _begin_table(path, schema)

    def summary(self) -> dict[str, object]:
        """Counts of events, users and items, and the first and newest event's time."""
        self.prepare()
        [row] = duckdb.sql(
            f"SELECT count(*), count(DISTINCT {s.USER_ID}), count(DISTINCT {s.ITEM_ID}), "
            f"min(epoch_us({s.TIMESTAMP})), max(epoch_us({s.TIMESTAMP})) FROM {self._all_events}"
        ).fetchall()
        first, newest = (datetime.fromtimestamp(t / 1e6, UTC) for t in row[3:])
        return {"events": row[0], "users": row[1], "items": row[2], "first": first, "newest": newest}

    def newest_event(self) -> datetime:
        newest = self.summary()["newest"]
        assert isinstance(newest, datetime)
        return newest

    def newest_user(self) -> str:
        """The user of the newest event, for examples that should have something to show."""
        self.prepare()
        query = f"SELECT arg_max({s.USER_ID}, {s.TIMESTAMP}) FROM {self._all_events}"
        return str(duckdb.sql(query).fetchall()[0][0])

    def events_until(self, moments: Sequence[datetime]) -> list[int]:
        """How many events are not later than each moment. As the lake only grows, the count tells whether it has."""
        counts = [f"count(*) FILTER ({s.TIMESTAMP} <= '{m}')" for m in moments]
        return list(duckdb.sql(f"SELECT {', '.join(counts)} FROM {self._all_events}").fetchall()[0]) if counts else []

    def batches_until(self, moment: datetime) -> list[str]:
        """Ids of the batches that brought events not later than the moment."""
        query = (
            f"SELECT DISTINCT {s.BATCH_ID} FROM {self._all_events} "
            f"WHERE {s.TIMESTAMP} <= '{moment}' AND {s.BATCH_ID} IS NOT NULL ORDER BY 1"
        )
        return [str(row[0]) for row in duckdb.sql(query).fetchall()]

    def fingerprints(self, table: Path, moments: Sequence[datetime | None]) -> list[str]:
        """For each moment what changes when the rows of `items` or `users` do that are not later; None: all rows."""
        prints = [
            f"concat_ws(' ', count(*) FILTER ({rows}), bit_xor(hash(t)) FILTER ({rows}))"
            for rows in (f"{s.TIMESTAMP} <= '{m}'" if m else "true" for m in moments)
        ]
        source = f"read_parquet('{_quoted(str(table))}') t"
        return list(duckdb.sql(f"SELECT {', '.join(prints)} FROM {source}").fetchall()[0]) if prints else []


def _begin_table(path: Path, schema: pa.Schema) -> None:
    """An empty table, unless an ingest brings one meanwhile: readers come here, too, without the lake's lock."""
    with TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        begun = Path(folder) / path.name
        pq.write_table(schema.empty_table(), begun)
        try:
            os.link(begun, path)  # a rename would take the place of what is there
        except FileExistsError:
            pass  # the ingest's stays
        except OSError:  # a file system without links
            begun.replace(path)


def rows_sql(files: str, schema: pa.Schema) -> str:
    """SQL of the rows of Parquet files, by the columns of a contract.

    The contract may have grown since a file was written: what a file does not have is null, even if none of them has
    it. Columns that the contract does not know are left out.

    Args:
        files: a path or a glob.
        schema: the contract.
    """
    names = ", ".join(schema.names)
    nulls = ", ".join(f"NULL::{_SQL_TYPES[column.type]} AS {column.name}" for column in schema)
    return (
        f"SELECT {names} FROM (SELECT {nulls} WHERE false UNION ALL BY NAME "
        f"SELECT * FROM read_parquet('{_quoted(files)}', union_by_name = true))"
    )


def _quoted(path: str) -> str:
    return path.replace("'", "''")
