"""The search finds what brute force finds, and looks at less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import index as module
from models.first_look import FirstLook, _Part
from models.index import NOTHING, VectorIndex

NONE = np.empty(0, dtype=np.int32)


def world(n_items: int = 30_000, dim: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors with long-tailed lengths, biases of which some say "not to be found", and queries."""
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(n_items, dim)) * rng.lognormal(-2, 1, (n_items, 1))).astype(np.float32)
    bias = rng.normal(size=n_items).astype(np.float32)
    bias[rng.random(n_items) < 0.1] = NOTHING
    bias[0] = NOTHING
    return vectors, bias, rng.normal(size=(5, dim)).astype(np.float32)


def brute(vectors: np.ndarray, bias: np.ndarray, query: np.ndarray, k: int, barred: np.ndarray) -> list[int]:
    scores = (vectors @ query + bias).astype(np.float64)
    scores[barred] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    return [int(item) for item in best if np.isfinite(scores[item])]


@pytest.mark.parametrize("length", [0.01, 1.0, 100.0])
def test_one_query_and_many_find_what_brute_force_finds(length: float) -> None:
    vectors, bias, queries = world()
    queries *= length
    index = VectorIndex.build(vectors, bias)
    barred = [np.sort(np.random.default_rng(n).permutation(len(bias))[:400]).astype(np.int32) for n in range(5)]
    expected = [brute(vectors, bias, query, 40, out) for query, out in zip(queries, barred, strict=True)]
    assert index.best(queries, 40, barred).tolist() == expected
    for row in range(5):
        assert index.best(queries[row : row + 1], 40, [barred[row]])[0].tolist() == expected[row]


def test_sums_of_large_numbers_are_not_cut_off() -> None:
    # Processors without VNNI add products of bytes up in 16 bits.
    vectors = np.ones((64, 32), dtype=np.float32) * np.linspace(1, 2, 64, dtype=np.float32)[:, None]
    vectors[::2, ::2] *= -1
    bounds, rows = FirstLook(vectors, np.zeros(64, dtype=np.float32)).highest(np.ones((1, 32), dtype=np.float32), 64)
    products = vectors[rows[0]].sum(axis=1)
    assert (bounds[0] >= products).all()
    assert bounds[0] == pytest.approx(products, abs=1.5)


def test_short_vectors_are_looked_at_only_where_they_can_be_among_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4_000, 16)).astype(np.float32)
    vectors[1_000:] *= 0.05
    bias = np.zeros(4_000, dtype=np.float32)
    looked: list[int] = []
    highest = _Part.highest

    def counted(self: _Part, asked: Any, count: int) -> Any:
        looked.append(len(self._rows))
        return highest(self, asked, count)

    monkeypatch.setattr(_Part, "highest", counted)
    index = VectorIndex.build(vectors, bias)
    queries = rng.normal(size=(3, 16)).astype(np.float32)
    for k in (20, 600):  # of 1,000 long ones, half have a negative product
        looked.clear()
        expected = [brute(vectors, bias, query, k, NONE) for query in queries]
        assert index.best(queries, k, [NONE] * 3).tolist() == expected
        assert looked == ([1_000] if k == 20 else [1_000, 3_000])


def test_the_exact_search_computes_few_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, bias, queries = world()
    index = VectorIndex.build(vectors, bias)
    computed: list[int] = []
    scores = VectorIndex._scores

    def counted(self: VectorIndex, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        computed.append(places.size)
        return scores(self, queries, places)

    monkeypatch.setattr(VectorIndex, "_scores", counted)
    index.best(queries[:1], 20, [NONE])
    assert sum(computed) < len(index.ids) / 50


def test_the_search_goes_on_where_rounding_hides_the_best() -> None:
    # All vectors but for a number are the same, and that number is too small for 8 bits beside the others.
    rng = np.random.default_rng(0)
    vectors = np.full((2_000, 8), 100.0, dtype=np.float32)
    vectors[:, 0] = rng.permutation(2_000) / 10_000
    index = VectorIndex.build(vectors, np.zeros(2_000, dtype=np.float32))
    query = np.array([[1.0, *[0.0] * 7]], dtype=np.float32)
    expected = brute(vectors, np.zeros(2_000, dtype=np.float32), query[0], 10, NONE)
    assert index.best(query, 10, [NONE])[0].tolist() == expected


def test_fewer_than_asked_are_padded_and_the_best_come_first() -> None:
    index = VectorIndex.build(np.eye(4, dtype=np.float32), np.array([NOTHING, 0, 0, NOTHING], dtype=np.float32))
    query = np.array([[9, 1, 2, 9]], dtype=np.float32)
    assert index.best(query, 5, [NONE]).tolist() == [[2, 1, 0, 0, 0]]
    assert index.best(query, 5, [np.array([2], dtype=np.int32)]).tolist() == [[1, 0, 0, 0, 0]]
    assert index.of(query, np.array([[0, 1, 2, 3]], dtype=np.int32)).tolist() == [[NOTHING, 1, 2, NOTHING]]
    assert index.dense(query).tolist() == [[NOTHING, 1, 2, NOTHING]]


def test_nothing_to_find() -> None:
    index = VectorIndex.build(np.zeros((3, 2), dtype=np.float32), np.full(3, NOTHING, dtype=np.float32))
    query = np.ones((1, 2), dtype=np.float32)
    assert index.best(query, 2, [NONE]).tolist() == [[0, 0]]
    assert index.of(query, np.array([[1, 2]], dtype=np.int32)).tolist() == [[NOTHING, NOTHING]]


def test_above_a_size_a_graph_finds_nearly_all_and_none_that_is_barred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "APPROXIMATE_ABOVE", 1_000)
    vectors, bias, queries = world(5_000)
    VectorIndex.build(vectors, bias).save(tmp_path / "index")
    index = VectorIndex.load(tmp_path / "index")
    assert index.graph is not None
    barred = [np.sort(np.array(brute(vectors, bias, query, 10, NONE), dtype=np.int32)) for query in queries]
    expected = [brute(vectors, bias, query, 50, out) for query, out in zip(queries, barred, strict=True)]
    found = index.best(queries, 50, barred)
    recall = np.mean([len(set(a) & set(b)) / 50 for a, b in zip(found.tolist(), expected, strict=True)])
    assert recall >= 0.95
    for row, out in zip(found, barred, strict=True):
        assert not set(row.tolist()) & set(out.tolist())


@pytest.mark.parametrize("harm", ["missing", "torn"])
def test_without_its_graph_the_search_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    monkeypatch.setattr(module, "APPROXIMATE_ABOVE", 1_000)
    vectors, bias, queries = world(3_000)
    VectorIndex.build(vectors, bias).save(tmp_path / "index")
    graph = tmp_path / "index" / "graph.faiss"
    if harm == "missing":
        graph.unlink()
    else:
        graph.write_bytes(graph.read_bytes()[:1_000])
    index = VectorIndex.load(tmp_path / "index")
    assert not index.is_whole
    assert index.best(queries[:1], 10, [NONE])[0].tolist() == brute(vectors, bias, queries[0], 10, NONE)
