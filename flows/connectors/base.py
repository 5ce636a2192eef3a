"""What a connector is: a source of chunks whose columns carry the contract's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from feature_repo import schema as s

BEHAVIOUR = "behavior"
"""The short form's name of the event type; its values are translated by `Connector.behaviours`."""

ROW_FORM = "row_form"
"""The rule that a row breaks which has more or fewer fields than the header."""


@dataclass(frozen=True)
class BrokenRow:
    """A row that could not be split into columns; it goes to the quarantine as it is.

    Args:
        number: row number in the source, the first row of data is 1.
        text: the row as it stands in the source.
        expected: number of columns of the header.
        found: number of columns of this row.
    """

    number: int
    text: str
    expected: int
    found: int


@dataclass(frozen=True)
class Chunk:
    """A piece of a source, about `chunk_rows` rows.

    Args:
        rows: columns under the contract's names, values raw: text, numbers or times as the source has them. Without
            an `event_id` column ingest derives the ids; `behavior` may stand for `event_type`.
        first_row: row number of the chunk's first row in the source, counted from 1.
        broken: rows of this stretch of the source that are not in `rows`.
        done: share of the source that was read so far, for the progress bar; None if nobody knows.
    """

    rows: pa.Table
    first_row: int = 1
    broken: Sequence[BrokenRow] = ()
    done: float | None = None

    @property
    def row_numbers(self) -> np.ndarray:
        """Row number in the source of each of `rows`, int64 [rows]."""
        stretch = np.arange(self.first_row, self.first_row + self.rows.num_rows + len(self.broken))
        return np.setdiff1d(stretch, [row.number for row in self.broken], assume_unique=True)


class Connector:
    """Base of the connectors. Only `chunks` must be written; a source without tables inherits the rest."""

    name: ClassVar[str]
    """What the command line and the flows call it."""
    source: str
    """Where the data comes from, for reports and the quarantine: a path, a package, a log."""
    behaviours: Mapping[str, str] = s.BEHAVIOURS
    """Value of the `behavior` column -> event type; values not named here stay as they are."""

    may_be_refused: ClassVar[bool] = True
    """Whether a batch that breaks a batch rule is refused as a whole, to be corrected and delivered again; else its bad
    rows are rejected, however many they are, and the others taken."""
    may_be_empty: ClassVar[bool] = False
    """Whether no event at all is in order, as for a log that is read every hour; else an empty batch is refused."""

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        """The events, chunk by chunk, in the order of the source.

        Raises:
            SourceError: the source can't be read.
        """
        raise NotImplementedError

    def items(self) -> pa.Table | None:
        """Raw items under the contract's names; columns beyond the contract become `attributes`."""
        return None

    def users(self) -> pa.Table | None:
        """Raw users under the contract's names; columns beyond the contract become `attributes`."""
        return None

    def tables(self) -> Mapping[str, pa.Table]:
        """Further tables that are kept as they are: file name without suffix -> table."""
        return {}

    def committed(self) -> None:
        """Called when what `chunks` yielded last is in the lake; a log moves its mark here."""

    def notes(self) -> Sequence[str]:
        """What the one who runs the ingest should know about the source, e.g. columns that were left out."""
        return ()
