"""The items whose vectors fit a query best: maximum inner product search, exact up to a size, approximate above it.

Exact search looks at rounded vectors first, and computes the scores of those alone that can be among the best (a
bound and a check of it, as in LEMP; Teflioudi et al., 2015). Approximate search is faiss' HNSW graph over the rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from models.batch import Ints
from models.first_look import FirstLook
from models.ids import is_among

Floats = npt.NDArray[np.float32]
log = logging.getLogger(__name__)

NOTHING: Final = np.float32(-np.inf)
"""The score of an item that there is no reason to propose."""
APPROXIMATE_ABOVE: Final = 200_000
"""Rows from which on a graph pays: the exact search of as many takes about a millisecond on one core."""
_TOGETHER: Final = 16
"""Queries whose bounds are in memory at once."""
_SPARE: Final = 32
"""Rows that are looked at beyond twice as many as are wanted; enough for most queries, whatever is barred."""
_FURTHER: Final = 4
"""So many times as many rows are looked at next, where the first look cannot tell."""
_LINKS, _BUILD_DEPTH, _SEARCH_DEPTH = 32, 100, 256
_ROWS, _GRAPH, _ABOUT = "rows.npy", "graph.faiss", "index.json"


@dataclass(frozen=True)
class VectorIndex:
    """Scores are `query @ vector + bias`. Rows without a finite bias are left out and score `NOTHING`.

    The last column of `rows` is the bias, so that a query with a 1 behind it needs one product.
    """

    rows: Floats
    """[m, d + 1] the vectors with their biases"""
    ids: Ints
    """[m] the inside item id of each row"""
    place: Ints
    """[n items] the row of each item, -1 where it has none"""
    graph: Any = None
    """faiss' index over the rows; None: exact search."""

    @classmethod
    def build(cls, vectors: Floats, bias: Floats) -> VectorIndex:
        """Lays the rows out.

        Args:
            vectors: [n items, d], row 0 the unknown item.
            bias: [n items], `NOTHING` for items that are not to be found.
        """
        ids = np.flatnonzero(np.isfinite(bias)).astype(np.int32)
        place = np.full(len(vectors), -1, dtype=np.int32)
        place[ids] = np.arange(len(ids), dtype=np.int32)
        rows = np.concatenate([vectors[ids], bias[ids, None]], axis=1).astype(np.float32)
        return cls(rows, ids, place)

    def best(self, queries: Floats, k: int, barred: Sequence[Ints]) -> Ints:
        """[B, k] item ids of the best k for each query, best first, 0 where there are fewer.

        Args:
            queries: [B, d]
            k: how many.
            barred: per query, sorted ids that may not be found.
        """
        out = np.zeros((len(queries), k), dtype=np.int32)
        if self.graph is not None:
            for row, (query, hidden) in enumerate(zip(queries, barred, strict=True)):
                found = self._near(query, k, hidden)
                out[row, : len(found)] = found
        elif len(self.ids):
            for start in range(0, len(queries), _TOGETHER):
                part = slice(start, start + _TOGETHER)
                out[part] = self._exact(queries[part], k, barred[part])
        return out

    def of(self, queries: Floats, items: Ints) -> Floats:
        """[B, C] scores of items [B, C]."""
        if not len(self.ids):
            return np.full(items.shape, NOTHING, dtype=np.float32)
        place = self.place[items]  # -1 takes the last row, which is blotted out
        return np.where(place < 0, NOTHING, self._scores(queries, place))

    def dense(self, queries: Floats) -> Floats:
        """[B, n items] every score."""
        out = np.full((len(queries), len(self.place)), NOTHING, dtype=np.float32)
        out[:, self.ids] = queries @ self.rows[:, :-1].T + self.rows[:, -1]
        return out

    def _exact(self, queries: Floats, k: int, barred: Sequence[Ints]) -> Ints:
        """[B, k] the best of each query: none that was not looked at has a bound above the last of them."""
        out = np.zeros((len(queries), k), dtype=np.int32)
        rows = np.arange(len(queries))
        count = 2 * k + _SPARE
        while len(rows):
            count = min(count, len(self.ids))
            bounds, places = self._first_look.highest(queries[rows], count)
            places.sort(axis=1)
            ids = self.ids[places]
            scores = self._scores(queries[rows], places)
            unsure = []
            for at, row in enumerate(rows.tolist()):
                scores[at, is_among(ids[at], barred[row])] = NOTHING
                best = _largest(scores[at], k)
                out[row, : len(best)] = ids[at, best]
                is_sure = len(best) == k and scores[at, best[-1]] > bounds[at].min()
                if not is_sure and count < len(self.ids):
                    unsure.append(row)
            rows, count = np.array(unsure, dtype=np.intp), count * _FURTHER
        return out

    @cached_property
    def _first_look(self) -> FirstLook:
        return FirstLook(self.rows[:, :-1], self.rows[:, -1])

    def _scores(self, queries: Floats, places: npt.NDArray[np.integer]) -> Floats:
        """[B, C] of the rows at places [B, C]; a score is the same whatever else is asked for beside it."""
        scores: Floats = np.einsum("bcd,bd->bc", self.rows[places], _asked(queries), optimize=False)
        return scores

    def _near(self, query: Floats, k: int, barred: Ints) -> Ints:
        """The approximate best of one query."""
        out = self.place[barred]
        params = faiss.SearchParametersHNSW(efSearch=max(_SEARCH_DEPTH, 2 * k))  # type: ignore[attr-defined]
        if len(hidden := out[out >= 0].astype(np.int64)):
            params.sel = faiss.IDSelectorNot(faiss.IDSelectorBatch(hidden))
        _, found = self.graph.search(_asked(query[None, :]), k, params=params)
        return self.ids[found[0][found[0] >= 0]]

    def with_graph(self) -> VectorIndex:
        """The same rows with a graph, for approximate search."""
        graph = faiss.IndexHNSWFlat(self.rows.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _BUILD_DEPTH
        graph.add(self.rows)
        return replace(self, graph=graph)

    def save(self, folder: Path) -> None:
        """Writes the rows and, if there are many, a graph into a new folder."""
        folder.mkdir()
        np.save(folder / _ROWS, self.rows)
        np.savez(folder / "order.npz", ids=self.ids, place=self.place)
        large = len(self.ids) > APPROXIMATE_ABOVE
        (folder / _ABOUT).write_text(json.dumps({"graph": large}))
        if large:
            graph = self.graph if self.graph is not None else self.with_graph().graph
            faiss.write_index(graph, str(folder / _GRAPH))

    @classmethod
    def load(cls, folder: Path) -> VectorIndex:
        """Reads what `save` wrote. The rows are mapped, so that several processes share them in memory.

        A graph that is missing or damaged is done without: the search is exact then, and slower.
        """
        # As a plain array: numpy's class for mapped ones costs microseconds at every look.
        rows = np.asarray(np.load(folder / _ROWS, mmap_mode="r", allow_pickle=False))
        about = json.loads((folder / _ABOUT).read_text())
        graph = None
        if about["graph"]:
            try:
                graph = faiss.read_index(str(folder / _GRAPH), faiss.IO_FLAG_MMAP_IFC)
            except RuntimeError as error:
                log.error("the index %s cannot be read, searching without: %s", folder / _GRAPH, error)
        with np.load(folder / "order.npz", allow_pickle=False) as order:
            return cls(rows, order["ids"], order["place"], graph)

    @property
    def is_whole(self) -> bool:
        """Whether the graph that these many rows need is there."""
        return self.graph is not None or len(self.ids) <= APPROXIMATE_ABOVE


def _asked(queries: Floats) -> Floats:
    """[B, d + 1] queries with a 1 for the rows' last column, which is the bias."""
    return np.concatenate([queries, np.ones((len(queries), 1), dtype=np.float32)], axis=1)


def _largest(scores: Floats, k: int) -> npt.NDArray[np.intp]:
    """Positions of the k largest finite scores [m], best first, equal ones in order."""
    part = np.sort(np.argpartition(-scores, k - 1)[:k]) if len(scores) > 2 * k else np.arange(len(scores))
    part = part[np.isfinite(scores[part])]
    return part[np.argsort(-scores[part], kind="stable")][:k]
