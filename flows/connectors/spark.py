"""A data lake through Spark: whatever Spark reads, by path or by table name.

Spark writes the columns that are needed as Parquet into the home, from where they are read chunk by chunk: collecting
them in the driver would take the whole table's memory. On a cluster the home must be on storage that all see.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from feature_repo import schema as s
from flows.connectors.base import Chunk, Connector
from flows.connectors.columns import Columns, event_columns, table_columns
from flows.connectors.parquet_reader import parquet_chunks
from flows.errors import BrokenFileError, SourceMissingError
from infra.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class SparkSource(Connector):
    """Events from a path or a table of a data lake.

    Args:
        path: a path or URL that Spark reads, or the name of a table in its catalogue.
        format: of what the path names, as in `spark.read.format`.
        items, users: optional, as `path`; columns beyond the contract become `attributes`.
        columns, item_columns, user_columns: our name -> theirs, for names that differ.
        behaviours: value of the `behavior` column -> event type, beside browse, click, cart and purchase.

    Raises:
        SparkError: pyspark or Java is missing, or Spark does not start.
        SourceError: a table or a column is missing; known here, before any row is read.
    """

    name: ClassVar[str] = "spark"

    def __init__(
        self,
        path: str,
        *,
        format: str = "parquet",
        items: str | None = None,
        users: str | None = None,
        columns: Mapping[str, str] | None = None,
        item_columns: Mapping[str, str] | None = None,
        user_columns: Mapping[str, str] | None = None,
        behaviours: Mapping[str, str] | None = None,
    ) -> None:
        from feature_repo.engines.spark_session import new_session

        self._session = new_session(settings().spark_master, settings().spark)
        self._format = format
        self.source = f"spark {path}"
        self.behaviours = {**s.BEHAVIOURS, **(behaviours or {})}
        self._events = self._frame(path)
        self._columns = event_columns(self.source, self._events.columns, columns or {})
        self._items = self._table(items, item_columns or {}, s.ITEM_ID)
        self._users = self._table(users, user_columns or {}, s.USER_ID)

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        return self._chunks("events", self._events, self._columns, chunk_rows)

    def items(self) -> pa.Table | None:
        return self._whole("items", self._items)

    def users(self) -> pa.Table | None:
        return self._whole("users", self._users)

    def notes(self) -> Sequence[str]:
        left_out = ", ".join(map(repr, self._columns.left_out))
        return [f"{self.source}: columns that no event has are left out: {left_out}"] if left_out else []

    def _frame(self, path: str) -> DataFrame:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        is_path = "/" in path or Path(path).exists()
        try:
            if is_path:
                return self._session.read.format(self._format).load(path)
            return self._session.table(path)
        except (PySparkException, Py4JError) as error:
            raise SourceMissingError(
                f"spark: cannot read {path!r} as {f'a path of {self._format}' if is_path else 'a table'}: "
                f"{_reason(error)}; a path has a slash in it, a table's name has none"
            ) from error

    def _table(self, path: str | None, mapping: Mapping[str, str], id_column: str) -> tuple[DataFrame, Columns] | None:
        if path is None:
            return None
        frame = self._frame(path)
        return frame, table_columns(f"spark {path}", frame.columns, mapping, id_column)

    def _whole(self, name: str, table: tuple[DataFrame, Columns] | None) -> pa.Table | None:
        if table is None:
            return None
        parts = [chunk.rows for chunk in self._chunks(name, *table, 1 << 20)]
        return pa.concat_tables(parts) if parts else None

    def _chunks(self, name: str, frame: DataFrame, columns: Columns, chunk_rows: int) -> Iterator[Chunk]:
        folder = settings().staging / f"spark_{name}"
        self._write(frame.select(*(f"`{theirs}`" for theirs in columns.ours)), folder)
        first = 1
        try:
            for file in sorted(folder.glob("*.parquet")):
                for chunk in parquet_chunks(file, columns, chunk_rows):
                    yield replace(chunk, first_row=first, done=None)
                    first += chunk.rows.num_rows
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, frame: Any, folder: Path) -> None:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        # Spark's default, INT96, is in nanoseconds.
        self._session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        try:
            frame.write.mode("overwrite").parquet(str(folder))
        except (PySparkException, Py4JError) as error:
            raise BrokenFileError(f"{self.source}: Spark could not read it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What Java says, without its stack."""
    cause = getattr(error, "java_exception", None) or error
    return str(cause).strip().splitlines()[0]
