"""Rejected rows: as they came, with the rules that each broke; one Parquet file per batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
ROW = "row"
RULES = "rules"
RAW = "raw"
REJECTED_AT = "rejected_at"

QUARANTINE = pa.schema(
    [
        pa.field(s.BATCH_ID, pa.string(), nullable=False),
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(ROW, pa.int64(), nullable=False),  # in the source, the first row of data is 1
        pa.field(RULES, pa.list_(pa.string()), nullable=False),
        pa.field(RAW, pa.map_(pa.string(), pa.string()), nullable=False),  # column -> value as text
        pa.field(REJECTED_AT, pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""Grain: one row per rejected row of a batch."""


@dataclass(frozen=True)
class QuarantinedBatch:
    """What the quarantine holds of one batch; a row that broke two rules counts under both."""

    batch_id: str
    source: str
    rejected_at: datetime
    rows: int
    by_rule: dict[str, int]


class QuarantineWriter:
    """Writes one batch's rejected rows to a file that is made with the first row."""

    def __init__(self, path: Path, batch_id: str, when: datetime) -> None:
        self.path = path
        self._batch_id = batch_id
        self._when = when
        self._writer: pq.ParquetWriter | None = None

    def add(self, source: str, raw: pa.Table, numbers: np.ndarray, rules: Sequence[Sequence[str]]) -> None:
        """Rows that broke rules: their raw columns [rows], numbers in the source [rows] and rules [rows]."""
        columns = dict(zip(raw.column_names, raw.columns, strict=True))
        self._write(source, text_map(columns, raw.num_rows), numbers, rules)

    def add_broken(self, source: str, rows: Sequence[BrokenRow]) -> None:
        """Rows that could not be split into columns; their whole text is kept under the name `line`."""
        raw = text_map({"line": pa.array([row.text for row in rows], pa.string())}, len(rows))
        self._write(source, raw, np.array([row.number for row in rows]), [[ROW_FORM]] * len(rows))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, source: str, raw: pa.MapArray, numbers: np.ndarray, rules: Sequence[Sequence[str]]) -> None:
        rows = len(raw)
        if rows == 0:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, QUARANTINE, compression="zstd")
        columns = [
            pa.array([self._batch_id] * rows, pa.string()),
            pa.array([source] * rows, pa.string()),
            pa.array(numbers, pa.int64()),
            pa.array(rules, pa.list_(pa.string())),
            raw,
            pa.array([self._when] * rows, pa.timestamp("us", tz="UTC")),
        ]
        self._writer.write_table(pa.table(columns, schema=QUARANTINE))


def quarantine_file(quarantine: Path, batch_id: str) -> Path:
    """Where a batch's rejected rows are."""
    return quarantine / f"{batch_id}.parquet"


def list_batches(quarantine: Path) -> list[QuarantinedBatch]:
    """Every batch with rejected rows, the newest first, with how many rows broke which rule."""
    batches = [_summary(file) for file in quarantine.glob("*.parquet")]
    return sorted(batches, key=lambda batch: (batch.rejected_at, batch.batch_id), reverse=True)


def show_batch(quarantine: Path, batch_id: str, limit: int | None = None) -> pa.Table:
    """A batch's rejected rows in the order of the source, as `QUARANTINE`.

    Raises:
        UnknownBatchError: nothing was rejected under that id.
    """
    file = quarantine_file(quarantine, batch_id)
    if not file.is_file():
        known = ", ".join(batch.batch_id for batch in list_batches(quarantine)[:5]) or "none"
        raise UnknownBatchError(f"the quarantine holds no batch {batch_id!r}; the newest are: {known}")
    table = pq.read_table(file, schema=QUARANTINE)
    return table if limit is None else table.slice(0, limit)


def _summary(file: Path) -> QuarantinedBatch:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.read_parquet(str(file))
        counts = rows.query(
            "q", f"SELECT rule, count(*) FROM (SELECT unnest({RULES}) AS rule FROM q) GROUP BY 1"
        ).fetchall()
        [(batch_id, source, when, total)] = rows.query(
            "q", f"SELECT min({s.BATCH_ID}), min({SOURCE}), min(epoch_us({REJECTED_AT})), count(*) FROM q"
        ).fetchall()
    when = datetime.fromtimestamp(when / 1e6, tz=UTC)
    return QuarantinedBatch(batch_id, source, when, total, dict(sorted(counts, key=lambda c: -c[1])))
