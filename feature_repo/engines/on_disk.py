"""The inputs of a moment on disk, for a lake of more events than should be in memory at once.

A user's features are made of that user's events alone, so the input `history` is cut into slices of users, and each
feature is computed slice by slice. DuckDB itself cannot: the lists that most features are do not leave its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ibis.backends.duckdb import Backend
from ibis.expr.operations import DatabaseTable
from ibis.expr.types import Table

from feature_repo import inputs as cuts
from feature_repo import schema as s

SLICE_EVENTS: Final = 2_000_000
"""Less than 1 GB, where ids have ten characters or so."""
MEMORY: Final = "3GB"
"""DuckDB takes no more for the rest, sorting and grouping by items, and goes on on disk."""
_HISTORY: Final = "cut_history"
_SLICE: Final = "slice"


@dataclass(frozen=True)
class UserSlices:
    """The input `history`, each file with other users."""

    con: Backend
    files: Sequence[Path]

    @property
    def table(self) -> Table:
        """The input for expressions; which slice it is changes under them."""
        self._look_at(self.files[0])
        return self.con.table(_HISTORY)

    def are_read_by(self, rows: Table) -> bool:
        """Whether an expression is over them."""
        return any(table.name == _HISTORY for table in rows.op().find(DatabaseTable))

    def write(self, rows: Table, file: Path) -> None:
        """Run the expression over each slice, and put the rows of all into one file."""
        parts = [file.with_name(f"{file.name}-{number}") for number in range(len(self.files))]
        try:
            for slice_, part in zip(self.files, parts, strict=True):
                self._look_at(slice_)
                self.con.to_parquet(rows, part, compression="lz4")  # for seconds: read once, and gone
            every = ", ".join(map(text, parts))
            self.con.con.execute(
                f"COPY (FROM read_parquet([{every}])) TO {text(file)} (FORMAT parquet, COMPRESSION zstd)"
            )
        finally:
            for part in parts:
                part.unlink(missing_ok=True)

    def _look_at(self, file: Path) -> None:
        self.con.con.execute(f"CREATE OR REPLACE TEMP VIEW {_HISTORY} AS FROM read_parquet({text(file)})")


def user_slices(con: Backend, events: Table, number: int, folder: Path) -> UserSlices:
    """Cut the input `history` into about so many files under `folder`.

    Args:
        events: with category and moment, as `inputs.history` takes them.
    """
    past = con.compile(cuts.until_moment(events.select(*cuts.HISTORY_COLUMNS)).select(*cuts.HISTORY_COLUMNS))
    con.con.execute(
        f"COPY (SELECT *, hash({s.USER_ID}) % {number} AS {_SLICE} FROM ({past})) "
        f"TO {text(folder / _SLICE)} (FORMAT parquet, PARTITION_BY ({_SLICE}))"
    )
    files = []
    for part in sorted((folder / _SLICE).glob(f"{_SLICE}=*")):
        # Without the number of the slice, which is no column of an event.
        sliced = con.read_parquet(part / "*.parquet", hive_partitioning=False)
        files.append(part.with_suffix(".parquet"))
        con.to_parquet(cuts.history(sliced), files[-1])
        for done in part.iterdir():
            done.unlink()
    if not files:  # impressions are no history
        files.append(folder / f"{_SLICE}.parquet")
        con.to_parquet(cuts.history(events), files[-1])
    return UserSlices(con, files)


def on_disk(con: Backend, rows: Table, name: str, folder: Path) -> Table:
    """An expression's rows, kept in a file."""
    file = folder / f"{name}.parquet"
    con.to_parquet(rows, file)
    con.con.execute(f"CREATE TEMP VIEW {name} AS FROM read_parquet({text(file)})")
    return con.table(name)


def text(path: Path) -> str:
    """A path as SQL has it."""
    return "'" + str(path).replace("'", "''") + "'"
