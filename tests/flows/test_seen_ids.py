"""Ids of a batch are known again in whatever chunk they come, once merged and before."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from flows import seen_ids
from flows.seen_ids import SeenIds, _Run, _Sieve


@pytest.mark.parametrize("first", [1, 200, 10_000])
@pytest.mark.parametrize("merged", [1, 300, 10_000])
def test_what_came_in_an_earlier_chunk_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: int, first: int
) -> None:
    monkeypatch.setattr(seen_ids, "MERGED", merged)
    monkeypatch.setattr(seen_ids, "FIRST", first)
    random = np.random.default_rng(7)
    before: set[str] = set()
    with duckdb.connect() as con:
        seen = SeenIds(con, tmp_path / "seen")
        for size in (100, 90, 0, 110, 1, 100, 250, 100):
            ids = [f"e{n}" for n in random.integers(0, 1_000, size)]
            known = seen.take(pa.chunked_array([ids[:40], ids[40:]], pa.string()))
            assert known.tolist() == [one in before for one in ids]
            before |= set(ids)
    files = len(list((tmp_path / "seen").iterdir()))
    assert files == {1: 14, 300: 8, 10_000: 4}[merged]


def test_ids_that_share_half_of_their_digest_are_told_apart(tmp_path: Path) -> None:
    halves = np.array([3, 7, 7, 7, 9], np.uint64), np.array([1, 4, 5, 6, 1], np.uint64)
    run = _Run.written(tmp_path, 0, *halves)
    asked = np.array([3, 7, 7, 7, 9, 10], np.uint64), np.array([1, 6, 8, 4, 2, 1], np.uint64)
    assert run.has(*asked).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize("size", [1, 1_000, 60_000])
def test_a_sieve_passes_all_that_was_put_in_and_little_else(size: int) -> None:
    random = np.random.default_rng(7)
    (upper, lower), others = (random.integers(0, 2**64, (2, n), np.uint64, endpoint=False) for n in (size, 100_000))
    sieve = _Sieve(size)
    assert size <= sieve.size < 4 * size + 8
    sieve.put(upper, lower)
    assert sieve.passes(upper, lower).all()
    assert sieve.passes(*others).mean() < 0.02
