"""Parquet files as DuckDB sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

import duckdb
from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource

from feature_repo.offline_store.connection import ident, text
from feature_repo.offline_store.errors import SourceError

POSITION: Final = "((file_index::BIGINT << 40) | file_row_number)"
"""Where a row stands: the file, in the order of the names, then the row in it. Breaks ties that nothing else breaks."""
FILE_OF_POSITION: Final = "(position >> 40)"


def parquet_path(source: DataSource, repo_path: Path | str | None) -> str:
    """The file, the pattern, or the pattern of the files in a folder; relative paths start at the repository.

    Raises:
        SourceError: it is no local Parquet.
    """
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        kind = getattr(source, "file_format", None) or type(source)
        raise SourceError(f"source {source.name!r} is {kind}: this store reads FileSources of Parquet")
    scheme = urlparse(source.path).scheme
    if scheme not in ("", "file"):
        raise SourceError(f"source {source.name!r} lies at {source.path}: this store reads local files; copy it first")
    path = FileSource.get_uri_for_file_path(repo_path, source.path.removeprefix("file://"))
    return f"{path}/**/*.parquet" if Path(path).is_dir() else path


@dataclass(frozen=True)
class Source:
    """Rows of Parquet files."""

    name: str
    path: str
    types: Mapping[str, str]
    """Column to its SQL type."""
    renamed: Mapping[str, str]
    """Mapped name to the column's name in the files."""

    @classmethod
    def open(
        cls,
        con: duckdb.DuckDBPyConnection,
        source: DataSource,
        repo_path: Path | str | None,
        *,
        mapped: bool,
    ) -> Source:
        """Look at the files.

        Args:
            mapped: Columns are asked for by the names that the source's `field_mapping` gives them.
        """
        path = parquet_path(source, repo_path)
        try:
            rows = con.sql(f"SELECT * FROM {_rows(path)}")
        except duckdb.IOException as error:
            raise SourceError(f"source {source.name!r}: cannot read {path}: {str(error).splitlines()[0]}") from error
        types = {name: str(kind) for name, kind in zip(rows.columns, rows.types, strict=True)}
        renamed = {new: old for old, new in source.field_mapping.items() if old in types} if mapped else {}
        return cls(source.name, path, types, renamed)

    @property
    def sql(self) -> str:
        return _rows(self.path)

    def column(self, name: str) -> str:
        """The column's name in the files.

        Raises:
            SourceError: they have none such.
        """
        found = self.renamed.get(name, name)
        if found not in self.types:
            raise SourceError(
                f"source {self.name!r}: no column {name!r} in {self.path}; it has {', '.join(self.types)}"
            )
        return found

    def type_of(self, name: str) -> str:
        return self.types[self.column(name)]

    def select(self, names: Mapping[str, str] | Sequence[str]) -> str:
        """SQL of columns, each under the name that it is asked for, or maps to."""
        wanted = names if isinstance(names, Mapping) else {name: name for name in names}
        return ", ".join(f"{ident(self.column(name))} AS {ident(shown)}" for name, shown in wanted.items())


def _rows(path: str) -> str:
    # By name: a column that came later is null in the files of before.
    return f"read_parquet({text(path)}, union_by_name = true)"
