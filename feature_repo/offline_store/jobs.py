"""A retrieval that Feast can run: as Arrow, as batches, as Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

import duckdb
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from feature_repo.offline_store import writing
from feature_repo.offline_store.errors import SourceError
from feature_repo.offline_store.sources import parquet_path

BATCH_ROWS: Final = 122_880
"""One of DuckDB's row groups."""


class Query(Protocol):
    """What a job runs."""

    def prepare(self, con: duckdb.DuckDBPyConnection) -> str: ...
    def metadata(self, con: duckdb.DuckDBPyConnection) -> RetrievalMetadata | None: ...


class AsOfRetrievalJob(RetrievalJob):
    """Runs when asked, each time anew, in a DuckDB of its own."""

    def __init__(
        self,
        query: Query,
        connect: Callable[[], duckdb.DuckDBPyConnection],
        repo_path: Path | str | None,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_names: bool = False,
    ) -> None:
        self._query, self._connect, self._repo_path = query, connect, repo_path
        self._on_demand, self._full_names = list(on_demand), full_names
        self._metadata: RetrievalMetadata | None = None

    def to_arrow_batches(self, rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """The result in batches of about `rows` rows, for what does not fit into memory.

        On-demand views are computed batch by batch. DuckDB keeps the joined rows within its memory limit and puts
        the rest on disk until the reader is exhausted.
        """
        batches = self._batches(rows)
        first = next(batches)  # there is always one, if without rows: it brings the schema
        return pa.RecordBatchReader.from_batches(first.schema, _chain(first, batches))

    def to_parquet(self, path: Path | str) -> None:
        """Write the result, on-demand views included, to one file, never holding it whole. Replaces the file at once.

        Where no on-demand view needs Python, DuckDB writes the file itself.
        """
        target = Path(path)
        if self._on_demand:
            writing.batches(self.to_arrow_batches(), target)
            return
        with closing(self._connect()) as con:
            writing.query(con, self._query.prepare(con), target)

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result, on-demand views included, where the saved dataset lies: a `.parquet` file, or a folder.

        Raises:
            SavedDatasetLocationAlreadyExists: something is there, and it must not be replaced.
        """
        path = Path(parquet_path(storage.to_data_source(), self._repo_path).removesuffix("/**/*.parquet"))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        if path.suffix == ".parquet":
            self.to_parquet(path)
        elif path.is_dir() and any(file.suffix != ".parquet" for file in path.iterdir()):
            raise SourceError(f"saved dataset {path} holds other things than Parquet files: name an empty folder")
        else:
            with writing.replaced_folder(path) as folder:
                self.to_parquet(folder / "part-0.parquet")

    @property
    def full_feature_names(self) -> bool:
        return self._full_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        if self._metadata is None:
            with closing(self._connect()) as con:
                self._metadata = self._query.metadata(con)
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with closing(self._connect()) as con:
            return con.sql(self._query.prepare(con)).to_arrow_table()

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        with closing(self._connect()) as con:
            reader = con.sql(self._query.prepare(con)).to_arrow_reader(rows)
            schema, empty = reader.schema, True
            for batch in reader:
                empty = False
                yield from self._with_on_demand(pa.Table.from_batches([batch]))
            if empty:
                yield from self._with_on_demand(schema.empty_table())

    def _with_on_demand(self, table: pa.Table) -> list[pa.RecordBatch]:
        if self._on_demand:
            table = _Part(table, self).to_arrow()
        table = table.combine_chunks()
        return table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]


class _Part(RetrievalJob):
    """A part of a result; Feast computes its on-demand views as it would the whole's."""

    def __init__(self, rows: pa.Table, whole: AsOfRetrievalJob) -> None:
        self._rows, self._whole = rows, whole

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._rows

    @property
    def full_feature_names(self) -> bool:
        return self._whole.full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._whole.on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._whole.metadata


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    for batch in rest:
        # An on-demand view may infer another type for a part without values.
        yield batch if batch.schema == first.schema else batch.cast(first.schema)
