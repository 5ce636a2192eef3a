"""Which event ids a batch has had so far: by their digests, in sorted runs on disk that are searched by halves.

A sieve in memory keeps nearly all new ids from being searched, so that a chunk costs the same at the end of a large
batch as at its beginning. It takes two to eight bytes for each id so far, and beside it two runs are merged.
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
FIRST: Final = 1_000_000
"""Ids that the first sieve is for"""
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
        ours = np.memmap(self.upper, np.uint64, "r")
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

    def read(self) -> tuple[Halves, Halves]:
        return np.fromfile(self.upper, np.uint64), np.fromfile(self.lower, np.uint64)

    def remove(self) -> None:
        self.upper.unlink()
        self.lower.unlink()


class _Sieve:
    """Passes every digest that was put in, and about one of a hundred others.

    A Bloom filter whose digests have their three bits in one word each (Putze, Sanders, Singler: Cache-, Hash- and
    Space-Efficient Bloom Filters, 2007, section 3). Digests that are sorted by their upper halves meet the words in
    order.
    """

    _OF_A_WORD: Final = 4

    def __init__(self, size: int) -> None:
        """An empty one for up to `size` digests."""
        self._bits = max((size - 1) // self._OF_A_WORD, 1).bit_length()
        self._words = np.zeros(1 << self._bits, np.uint64)

    @property
    def size(self) -> int:
        return self._OF_A_WORD * len(self._words)

    def put(self, upper: Halves, lower: Halves) -> None:
        np.bitwise_or.at(self._words, self._word_of(upper), self._bits_of(lower))

    def passes(self, upper: Halves, lower: Halves) -> npt.NDArray[np.bool_]:
        """[n] which digests may have been put in."""
        bits = self._bits_of(lower)
        return (self._words[self._word_of(upper)] & bits) == bits

    def _word_of(self, upper: Halves) -> Halves:
        return upper >> np.uint64(64 - self._bits)

    @staticmethod
    def _bits_of(lower: Halves) -> Halves:
        places = ((lower >> np.uint64(6 * n)) & np.uint64(63) for n in range(3))
        return np.bitwise_or.reduce([np.uint64(1) << place for place in places])


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
        self._sieve = _Sieve(FIRST)
        self._numbers = count()

    def take(self, ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """[n] which ids an earlier chunk had; all are remembered."""
        upper, lower = self._digests(ids)
        order = np.argsort(upper, kind="stable")
        upper, lower = upper[order], lower[order]
        asked = np.flatnonzero(self._sieve.passes(upper, lower))
        found = np.zeros(len(upper), dtype=bool)
        for run in self._runs:
            found[asked] |= run.has(upper[asked], lower[asked])
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
        size = sum(run.size for run in self._runs)
        if size > self._sieve.size:
            self._sieve = _Sieve(2 * size)
            for run in self._runs:
                self._sieve.put(*run.read())
        else:
            self._sieve.put(upper, lower)
        # Like is merged with like, so that each id is merged a few times whatever the batch's size.
        while len(self._runs) > 1 and self._runs[-2].size <= 2 * self._runs[-1].size:
            last = self._runs[-2:]
            if sum(run.size for run in last) > MERGED:
                return
            upper, lower = (np.concatenate(halves) for halves in zip(*(run.read() for run in last), strict=True))
            order = np.argsort(upper, kind="stable")
            merged = _Run.written(self._folder, next(self._numbers), upper[order], lower[order])
            for run in last:
                run.remove()
            self._runs[-2:] = [merged]
