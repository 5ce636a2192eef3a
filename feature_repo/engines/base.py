"""What an engine does: cut the inputs to a moment, and write what an expression makes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ibis.expr.types import Table

from feature_repo.feature import Input


class Cut(Protocol):
    """The inputs as of one moment, and the place to run expressions over them; released when its context ends."""

    @property
    def tables(self) -> Mapping[Input, Table]: ...

    def write(self, rows: Table, file: Path) -> int:
        """Run the expression and write its rows to one Parquet file, timestamps in UTC microseconds; returns the
        number of rows. Not atomic: the caller renames."""
        ...


class Engine(Protocol):
    """Runs expressions over a lake."""

    @property
    def name(self) -> str:
        """As in the setting `engine`."""
        ...

    def cut(self, moment: datetime | None, inputs: Collection[Input]) -> AbstractContextManager[Cut]:
        """The named inputs as of `moment`; None where only tables that carry their own time are read.

        Args:
            inputs: one for each feature that is to be computed, so that what several read is made once.
        """
        ...
