"""The lake as the feature engine sees it: accepted events and tables. Ingest writes it, nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from feature_repo import schema as s
from feature_repo.errors import EmptyLakeError


@dataclass(frozen=True)
class Lake:
    """Paths of the lake's tables under its folder, and what is in them."""

    root: Path

    @property
    def events(self) -> str:
        """Glob of the event files."""
        return str(self.root / "events" / "*.parquet")

    @property
    def _all_events(self) -> str:
        return f"read_parquet('{_quoted(self.events)}')"

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
        if not any((self.root / "events").glob("*.parquet")):
            raise EmptyLakeError(f"no events under {self.root}: run `kairos ingest EVENTS.csv` or `kairos demo` first")
        for path, schema in ((self.items, s.ITEMS), (self.users, s.USERS)):
            if not path.exists():
                pq.write_table(schema.empty_table(), path)

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


def _quoted(path: str) -> str:
    return path.replace("'", "''")
