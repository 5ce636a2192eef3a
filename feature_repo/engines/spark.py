"""The distributed engine: the same expressions, run by Spark."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.expr.types import Table

from feature_repo import inputs as cuts
from feature_repo import schema as s
from feature_repo.engines.spark_session import errors_named, new_session
from feature_repo.feature import MOMENT, Input
from feature_repo.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TIME: Final = "timestamp('UTC', 6)"
"""Microseconds, as in the lake."""
SQL_SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A bad cast or an overflow is an error, as on DuckDB, and not a silent null.
    "spark.sql.ansi.enabled": "true",
    # Else what is kept in memory has always 200 parts, and every reader as many tasks.
    "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
}


class SparkCut:
    """The inputs of one moment, as views of a session of their own."""

    def __init__(self, session: SparkSession, folder: Path) -> None:
        from feature_repo.engines.spark_dialect import SparkBackend

        for name, value in SQL_SETTINGS.items():
            session.conf.set(name, value)
        self._session = session
        self._con = SparkBackend().connect(session)
        self._folder = folder
        self._kept: list[DataFrame] = []
        self.tables: dict[Input, Table] = {}

    def write(self, rows: Table, file: Path) -> int:
        """Raises SparkError: Spark does not know what the expression uses, or failed."""
        # Spark writes a folder, a file for each of its tasks. One writer makes one file of them that is the same as
        # the other engine's, to the last letter of its schema.
        parts = file.with_name(f"{file.name}.spark")
        rows = rows.mutate(**{MOMENT: rows[MOMENT].cast(TIME)})
        try:
            with errors_named(self._folder):
                self._frame(rows).write.mode("overwrite").parquet(_uri(parts))
            with duckdb.connect() as con:
                con.read_parquet(f"{parts}/*.parquet").write_parquet(str(file), compression="zstd")
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        return int(pq.read_metadata(file).num_rows)

    def read(self, name: str, path: str, contract: pa.Schema) -> Table:
        """Files of the lake, by the contract's columns: null where a file is from before a column was in it."""
        from ibis.backends.pyspark.datatypes import PySparkSchema

        schema = PySparkSchema.from_ibis(ibis.Schema.from_pyarrow(contract))
        with errors_named(self._folder):
            return self._view(name, self._session.read.schema(schema).parquet(_uri(path)))

    def derive(self, name: str, table: Table, *, keep: bool) -> Table:
        """A view of an expression. Kept, it is computed once, and held in memory as far as there is room."""
        with errors_named(self._folder):
            frame = self._frame(table)
            if keep:
                self._kept.append(frame.persist())
            return self._view(name, frame)

    def release(self) -> None:
        for frame in self._kept:
            frame.unpersist()

    def _frame(self, table: Table) -> DataFrame:
        from ibis.backends.pyspark.datatypes import PySparkSchema

        frame = self._con.raw_sql(self._con.compile(table))
        # Ibis leaves out a cast to what it takes a value to be already, where Spark's own type may be narrower.
        return frame.to(PySparkSchema.from_ibis(table.schema()))

    def _view(self, name: str, frame: DataFrame) -> Table:
        frame.createOrReplaceTempView(name)
        return self._con.table(name)


@dataclass(frozen=True)
class SparkEngine:
    """Reads the lake's files and writes the snapshots', in folders that every machine of the cluster must see.

    Args:
        master: Spark's master URL.
        folder: where this process's Spark logs to, and keeps scratch files while it runs.
    """

    lake: Lake
    master: str
    folder: Path
    name: str = "spark"

    @contextmanager
    def cut(self, moment: datetime | None, inputs: Collection[Input]) -> Iterator[SparkCut]:
        """Raises SparkError: pyspark or Java is missing, the master cannot be reached, or Spark failed."""
        cut = SparkCut(new_session(self.master, self.folder), self.folder)
        try:
            self._fill(cut, moment, inputs)
            yield cut
        finally:
            cut.release()

    def _fill(self, cut: SparkCut, moment: datetime | None, inputs: Collection[Input]) -> None:
        cut.tables["items"] = cut.read("items", str(self.lake.items), s.ITEMS)
        cut.tables["users"] = cut.read("users", str(self.lake.users), s.USERS)
        if moment is None:
            return
        at = ibis.literal(moment.astimezone(UTC)).cast(TIME)
        events = cut.read("all_events", self.lake.events, s.EVENTS).mutate(**{MOMENT: at})
        events = cuts.with_category(events, cut.tables["items"], at)
        readers = Counter(inputs)
        if readers["history"]:
            cut.tables["history"] = cut.derive("history", cuts.history(events), keep=readers["history"] > 1)
        if readers["events"]:
            cut.tables["events"] = cut.derive("events", cuts.past(events), keep=readers["events"] > 1)


def _uri(path: str | Path) -> str:
    """With the scheme, as a cluster's default may be another file system."""
    return f"file:{path}"
