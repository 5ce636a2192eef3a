"""Which event ids a batch has had so far: by their digests, in sorted runs on disk that are searched by halves.

A chunk takes the memory of one run, and reads 8 bytes for each id so far: half a gigabyte at 60 million.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

MERGED: Final = 4_000_000
"""Ids of a run at most: to merge two takes memory for both."""
Halves = npt.NDArray[np.uint64]
"""[n] one half of digests of 128 bits. Of a thousand million ids two share a digest with a probability of 10^-21."""


@dataclass(frozen=True)
class _Run:
    """Digests, sorted by their upper halves; a file for each half."""

    upper: Path
    lower: Path
    size: int

    @classmethod
    def written(cls, folder: Path, number: int, upper: Halves, lower: Halves) -> _Run:
        run = cls(folder / f"{number}.upper", folder / f"{number}.lower", len(upper))
        upper.tofile(run.upper)
        lower.tofile(run.lower)
        return run

    def has(self, upper: Halves, lower: Halves) -> npt.NDArray[np.bool_]:
        """[n] which digests are in it, given in ascending order of their upper halves."""
        ours = np.fromfile(self.upper, np.uint64)
        at = np.searchsorted(ours, upper)
        found = np.zeros(len(upper), dtype=bool)
        alike = np.flatnonzero(ours[np.minimum(at, self.size - 1)] == upper)
        if not len(alike):
            return found
        lowers = np.memmap(self.lower, np.uint64, "r")
        while len(alike):
            same = lowers[at[alike]] == lower[alike]
            found[alike[same]] = True
            alike = alike[~same]  # the next one may have the same upper half
            at[alike] += 1
            alike = alike[at[alike] < self.size]
            alike = alike[ours[at[alike]] == upper[alike]]
        return found

    def remove(self) -> None:
        self.upper.unlink()
        self.lower.unlink()


class SeenIds:
    """The ids of all chunks so far."""

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        """None yet.

        Args:
            con: makes the digests.
            folder: an empty one, for the runs.
        """
        self._con, self._folder = con, folder
        folder.mkdir()
        self._runs: list[_Run] = []
        self._numbers = count()

    def take(self, ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """[n] which ids an earlier chunk had; all are remembered."""
        upper, lower = self._digests(ids)
        order = np.argsort(upper, kind="stable")
        upper, lower = upper[order], lower[order]
        found = np.zeros(len(upper), dtype=bool)
        for run in self._runs:
            found |= run.has(upper, lower)
        if len(upper):
            self._remember(upper, lower)
        before = np.empty_like(found)
        before[order] = found
        return before

    def _digests(self, ids: pa.ChunkedArray) -> tuple[Halves, Halves]:
        self._con.register("ids", pa.table({"id": ids}))
        halves = self._con.sql(
            "SELECT md5_number_upper(id) AS upper, md5_number_lower(id) AS lower FROM ids"
        ).fetchnumpy()
        self._con.unregister("ids")
        return np.asarray(halves["upper"]), np.asarray(halves["lower"])

    def _remember(self, upper: Halves, lower: Halves) -> None:
        self._runs.append(_Run.written(self._folder, next(self._numbers), upper, lower))
        # Like is merged with like, so that each id is merged a few times whatever the batch's size.
        while len(self._runs) > 1 and self._runs[-2].size <= 2 * self._runs[-1].size:
            last = self._runs[-2:]
            if sum(run.size for run in last) > MERGED:
                return
            upper, lower = (
                np.concatenate([np.fromfile(getattr(run, half), np.uint64) for run in last])
                for half in ("upper", "lower")
            )
            order = np.argsort(upper, kind="stable")
            merged = _Run.written(self._folder, next(self._numbers), upper[order], lower[order])
            for run in last:
                run.remove()
            self._runs[-2:] = [merged]
