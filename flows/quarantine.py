"""Rejected rows: as they came, with the rules that each broke, and what became of them; one Parquet file per batch.

A row is filed once: the same row of the same source, sent again, is the one that is here already.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import schema as s
from flows.connectors.base import ROW_FORM, BrokenRow
from flows.connectors.text_map import text_map
from flows.errors import UnknownBatchError

SOURCE = "source"
TABLE = "table"
ROW = "row"
RULES = "rules"
RAW = "raw"
CORRECTED = "corrected"
REJECTED_AT = "rejected_at"
RESOLVED_BY = "resolved_by"
LINE = "line"
"""Raw column of a row that could not be split: its whole text."""

EVENTS = "events"
_TEXTS = pa.map_(pa.string(), pa.string())
QUARANTINE = pa.schema(
    [
        pa.field(s.BATCH_ID, pa.string(), nullable=False),
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(TABLE, pa.string(), nullable=False),  # events, items or users
        pa.field(ROW, pa.int64(), nullable=False),  # in the source's table, the first row of data is 1
        pa.field(RULES, pa.list_(pa.string()), nullable=False),  # that it breaks, as of the newest look at it
        pa.field(RAW, _TEXTS, nullable=False),  # column, under the contract's name -> value as text
        pa.field(CORRECTED, _TEXTS),  # as replayed last, if that was other than it came and still broke a rule
        pa.field(REJECTED_AT, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(RESOLVED_BY, pa.string()),  # batch id of the replay that took the row; null: it is open
    ]
)
"""Grain: one row per rejected row of a batch."""

_DIALECT_KEY = b"kairos.dialect"


@dataclass
class Dialect:
    """How a batch's source is to be read: without it a rejected row could not be judged again as it was.

    Args:
        behaviours: value of the `behavior` column -> event type.
        columns: table -> columns that the source had, under our names; a rejected row keeps only those with a value.
    """

    behaviours: Mapping[str, str] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)

    def saw(self, table: str, names: Sequence[str]) -> None:
        known = self.columns.setdefault(table, [])
        known.extend(name for name in names if name not in known)

    def as_metadata(self) -> dict[bytes, bytes]:
        return {_DIALECT_KEY: json.dumps(asdict(self)).encode()}

    @classmethod
    def of(cls, file: Path) -> Dialect:
        return cls(**json.loads(pq.read_metadata(file).metadata[_DIALECT_KEY]))


@dataclass(frozen=True)
class QuarantinedBatch:
    """What the quarantine holds of one batch.

    Args:
        open: rows that wait to be fixed.
        resolved: rows that a replay took into the lake.
        by_rule: rule -> open rows that break it; a row that breaks two counts under both.
    """

    batch_id: str
    source: str
    rejected_at: datetime
    open: int
    resolved: int
    by_rule: dict[str, int]


class QuarantineWriter:
    """Writes one batch's rejected rows to a file that is made with the first row."""

    def __init__(self, path: Path, batch_id: str, when: datetime, behaviours: Mapping[str, str]) -> None:
        self.path = path
        self._batch_id = batch_id
        self._when = when
        self._dialect = Dialect(behaviours)
        self._writer: pq.ParquetWriter | None = None

    def add(self, source: str, table: str, raw: pa.Table, numbers: np.ndarray, rules: Sequence[Sequence[str]]) -> None:
        """Rows that broke rules: their raw columns [rows], numbers in the source [rows] and rules [rows]."""
        self._dialect.saw(table, raw.column_names)
        columns = dict(zip(raw.column_names, raw.columns, strict=True))
        self._write(source, table, text_map(columns, raw.num_rows), numbers, rules)

    def add_broken(self, source: str, rows: Sequence[BrokenRow]) -> None:
        """Events that could not be split into columns."""
        raw = text_map({LINE: pa.array([row.text for row in rows], pa.string())}, len(rows))
        self._write(source, EVENTS, raw, np.array([row.number for row in rows]), [[ROW_FORM]] * len(rows))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.add_key_value_metadata(self._dialect.as_metadata())
            self._writer.close()
            self._writer = None

    def _write(
        self, source: str, table: str, raw: pa.MapArray, numbers: np.ndarray, rules: Sequence[Sequence[str]]
    ) -> None:
        rows = len(raw)
        if rows == 0:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, QUARANTINE, compression="zstd")
        columns = [
            pa.array([self._batch_id] * rows, pa.string()),
            pa.array([source] * rows, pa.string()),
            pa.array([table] * rows, pa.string()),
            pa.array(numbers, pa.int64()),
            pa.array(rules, pa.list_(pa.string())),
            raw,
            pa.nulls(rows, _TEXTS),
            pa.array([self._when] * rows, pa.timestamp("us", tz="UTC")),
            pa.nulls(rows, pa.string()),
        ]
        self._writer.write_table(pa.table(columns, schema=QUARANTINE))


def quarantine_file(quarantine: Path, batch_id: str) -> Path:
    """Where a batch's rejected rows are."""
    return quarantine / f"{batch_id}.parquet"


def file_rejected(staged: Path, quarantine: Path, batch_id: str) -> dict[str, int]:
    """Move a batch's rejected rows into the quarantine, but those that are there already, resolved ones included.

    Returns:
        Other batch -> rows of this one that are filed under it.
    """
    kept = quarantine_file(quarantine, batch_id)
    kept.parent.mkdir(parents=True, exist_ok=True)
    others = [str(file) for file in quarantine.glob("*.parquet") if file != kept]
    known = _known(staged, others) if others else {}
    if not known:
        os.replace(staged, kept)
        return {}
    fresh = [row for row in range(pq.read_metadata(staged).num_rows) if row not in known]
    if fresh:
        save_batch(kept, pq.read_table(staged).take(fresh), Dialect.of(staged))
    counts: dict[str, int] = defaultdict(int)
    for batch in known.values():
        counts[batch] += 1
    return dict(counts)


def save_batch(file: Path, rows: pa.Table, dialect: Dialect) -> None:
    """Write a batch's rows, as `QUARANTINE`, whole or not at all."""
    partial = file.with_suffix(".partial")
    pq.write_table(rows.select(QUARANTINE.names).cast(QUARANTINE.with_metadata(dialect.as_metadata())), partial)
    os.replace(partial, file)


def list_batches(quarantine: Path) -> list[QuarantinedBatch]:
    """Every batch with rejected rows, the newest first, with how many rows broke which rule."""
    batches = [_summary(file) for file in quarantine.glob("*.parquet")]
    return sorted(batches, key=lambda batch: (batch.rejected_at, batch.batch_id), reverse=True)


def show_batch(quarantine: Path, batch_id: str) -> pa.Table:
    """A batch's rejected rows in the order of the source, as `QUARANTINE`.

    Raises:
        UnknownBatchError: nothing was rejected under that id.
    """
    file = quarantine_file(quarantine, batch_id)
    if not file.is_file():
        known = ", ".join(batch.batch_id for batch in list_batches(quarantine)[:5]) or "none"
        raise UnknownBatchError(f"the quarantine holds no batch {batch_id!r}; the newest are: {known}")
    return pq.read_table(file, schema=QUARANTINE)


def _known(staged: Path, others: Sequence[str]) -> dict[int, str]:
    """Position in the staged file -> batch under which the row is filed already."""
    same = " AND ".join(f'new."{name}" = old."{name}"' for name in (SOURCE, TABLE, ROW))
    with duckdb.connect() as con:
        found = con.execute(
            f"SELECT new.file_row_number, min(old.{s.BATCH_ID}) FROM read_parquet(?, file_row_number = true) new "
            f"JOIN read_parquet(?) old ON {same} AND new.{RAW}::VARCHAR = old.{RAW}::VARCHAR GROUP BY 1",
            [str(staged), list(others)],
        ).fetchall()
    return dict(found)


def _summary(file: Path) -> QuarantinedBatch:
    is_open = f"{RESOLVED_BY} IS NULL"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.read_parquet(str(file))
        counts = rows.query(
            "q", f"SELECT rule, count(*) FROM (SELECT unnest({RULES}) AS rule FROM q WHERE {is_open}) GROUP BY 1"
        ).fetchall()
        [(batch_id, source, when, waiting, total)] = rows.query(
            "q",
            f"SELECT min({s.BATCH_ID}), min({SOURCE}), min(epoch_us({REJECTED_AT})), "
            f"count(*) FILTER ({is_open}), count(*) FROM q",
        ).fetchall()
    when = datetime.fromtimestamp(when / 1e6, tz=UTC)
    by_rule = dict(sorted(counts, key=lambda c: -c[1]))
    return QuarantinedBatch(batch_id, source, when, waiting, total - waiting, by_rule)
