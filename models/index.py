"""The items whose vectors fit a query best: maximum inner product search, exact up to a size, approximate above it.

Exact search does not look at everything: items lie in the order of what they can reach at most, and by Cauchy and
Schwarz nothing beyond a point can enter the best k (as in LEMP; Teflioudi et al., 2015). Approximate search is
faiss' HNSW graph over the same rows.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt
import torch

from models.batch import Ints

Floats = npt.NDArray[np.float32]
log = logging.getLogger(__name__)

NOTHING: Final = np.float32(-np.inf)
"""The score of an item that there is no reason to propose."""
APPROXIMATE_ABOVE: Final = 200_000
"""Rows from which on a graph pays: the exact search of as many takes about 5 ms on one core."""
_HEAD: Final = 8_192
"""Rows of the first look, which sets the bar for the others."""
_BLOCK: Final = 65_536
_LINKS, _BUILD_DEPTH, _SEARCH_DEPTH = 32, 100, 256
_ROWS, _GRAPH, _ABOUT = "rows.npy", "graph.faiss", "index.json"


@dataclass(frozen=True)
class VectorIndex:
    """Scores are `query @ vector + bias`. Rows without a finite bias are left out and score `NOTHING`.

    The last column of `rows` is the bias, so that a query with a 1 behind it needs one product.
    """

    rows: Floats
    """[m, d + 1] the vectors with their biases, by falling `reach`"""
    ids: Ints
    """[m] the inside item id of each row"""
    place: Ints
    """[n items] the row of each item, -1 where it has none"""
    reach: Floats
    """[m] the most that a query of length `typical` can score there: typical * |vector| + bias"""
    length: Floats
    """[m] longest vector from this row on"""
    typical: float
    graph: Any = None
    """faiss' index over the rows; None: exact search."""

    @classmethod
    def build(cls, vectors: Floats, bias: Floats, typical: float = 1.0) -> VectorIndex:
        """Lays the rows out.

        Args:
            vectors: [n items, d], row 0 the unknown item.
            bias: [n items], `NOTHING` for items that are not to be found.
            typical: the usual length of a query; another one only makes the exact search look further.
        """
        norms = np.linalg.norm(vectors, axis=1).astype(np.float32)
        known = np.flatnonzero(np.isfinite(bias))
        reach = typical * norms[known] + bias[known]
        order = np.argsort(-reach, kind="stable")
        ids = known[order].astype(np.int32)
        place = np.full(len(vectors), -1, dtype=np.int32)
        place[ids] = np.arange(len(ids), dtype=np.int32)
        rows = np.concatenate([vectors[ids], bias[ids, None]], axis=1).astype(np.float32)
        return cls(rows, ids, place, reach[order].astype(np.float32), _longest_from(norms[ids]), typical)

    def best(self, queries: Floats, k: int, barred: Sequence[Ints]) -> Ints:
        """[B, k] item ids of the best k for each query, best first, 0 where there are fewer.

        Args:
            queries: [B, d]
            k: how many.
            barred: per query, sorted ids that may not be found.
        """
        asked = np.concatenate([queries, np.ones((len(queries), 1), dtype=np.float32)], axis=1)
        if self.graph is not None:
            found = [self._near(one, k, out) for one, out in zip(asked, barred, strict=True)]
        elif len(asked) == 1:
            found = [self._within_reach(asked[0], k, barred[0])]
        else:
            found = self._all(asked, k, barred)
        out = np.zeros((len(asked), k), dtype=np.int32)
        for row, ids in enumerate(found):
            out[row, : len(ids)] = ids
        return out

    def of(self, queries: Floats, items: Ints) -> Floats:
        """[B, C] scores of items [B, C]."""
        place = self.place[items]
        if not len(self.ids):
            return np.full(items.shape, NOTHING, dtype=np.float32)
        rows = self.rows[place]  # [B, C, d + 1]; -1 takes the last row, which is blotted out below
        scores = np.einsum("bcd,bd->bc", rows[:, :, :-1], queries, optimize=False) + rows[:, :, -1]
        return np.where(place < 0, NOTHING, scores).astype(np.float32)

    def dense(self, queries: Floats) -> Floats:
        """[B, n items] every score."""
        out = np.full((len(queries), len(self.place)), NOTHING, dtype=np.float32)
        out[:, self.ids] = queries @ self.rows[:, :-1].T + self.rows[:, -1]
        return out

    def _within_reach(self, query: Floats, k: int, barred: Ints) -> Ints:
        """The exact best of one query: a first look sets the bar, then all rows that can reach it."""
        head = min(_HEAD, len(self.ids))
        scores = self._scores(query, 0, head, barred)
        kept = _largest(scores, k)
        bar = scores[kept].min() if len(kept) == k else NOTHING
        length = float(np.linalg.norm(query[:-1]))
        end = self._end(length, float(bar), head)
        if end == head:
            return self.ids[kept]
        more = self._scores(query, head, end, barred)
        above = np.flatnonzero(more > bar)
        at = np.concatenate([kept, above + head])
        values = np.concatenate([scores[kept], more[above]])
        return self.ids[at[_largest(values, k)]]

    def _end(self, length: float, bar: float, start: int) -> int:
        """The first row from which on nothing can score above the bar."""
        longer = max(length - self.typical, 0.0)  # a shorter query reaches less, which is not made use of
        rows = range(start, len(self.ids))
        # Both summands fall from row to row.
        return start + bisect_left(rows, True, key=lambda row: self.reach[row] + longer * self.length[row] <= bar)

    def _scores(self, query: Floats, start: int, end: int, barred: Ints) -> Floats:
        scores: Floats = self.rows[start:end] @ query
        out = self.place[barred]
        out = out[(out >= start) & (out < end)] - start
        scores[out] = NOTHING
        return scores

    def _all(self, queries: Floats, k: int, barred: Sequence[Ints]) -> list[Ints]:
        """The exact best of many queries, block by block: never queries × items in memory."""
        count = len(queries)
        hidden_at = [self.place[ids] for ids in barred]
        hidden_row = np.repeat(np.arange(count), [len(at) for at in hidden_at])
        hidden = np.concatenate([*hidden_at, np.empty(0, dtype=np.int32)])
        best_at = np.empty((count, 0), dtype=np.int64)
        best = np.empty((count, 0), dtype=np.float32)
        for start in range(0, len(self.ids), _BLOCK):
            scores = queries @ self.rows[start : start + _BLOCK].T
            here = (hidden >= start) & (hidden < start + scores.shape[1])
            scores[hidden_row[here], hidden[here] - start] = NOTHING
            top = torch.topk(torch.from_numpy(scores), min(k, scores.shape[1]), dim=1, sorted=False)
            best_at = np.concatenate([best_at, top.indices.numpy() + start], axis=1)
            best = np.concatenate([best, top.values.numpy()], axis=1)
        return [self.ids[at[_largest(values, k)]] for at, values in zip(best_at, best, strict=True)]

    def _near(self, query: Floats, k: int, barred: Ints) -> Ints:
        """The approximate best of one query."""
        out = self.place[barred]
        params = faiss.SearchParametersHNSW(efSearch=max(_SEARCH_DEPTH, 2 * k))  # type: ignore[attr-defined]
        if len(hidden := out[out >= 0].astype(np.int64)):
            params.sel = faiss.IDSelectorNot(faiss.IDSelectorBatch(hidden))
        _, found = self.graph.search(query[None, :], k, params=params)
        return self.ids[found[0][found[0] >= 0]]

    def with_graph(self) -> VectorIndex:
        """The same rows with a graph, for approximate search."""
        graph = faiss.IndexHNSWFlat(self.rows.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _BUILD_DEPTH
        graph.add(self.rows)
        return VectorIndex(self.rows, self.ids, self.place, self.reach, self.length, self.typical, graph)

    def save(self, folder: Path) -> None:
        """Writes the rows and, if there are many, a graph into a new folder."""
        folder.mkdir()
        np.save(folder / _ROWS, self.rows)
        np.savez(folder / "order.npz", ids=self.ids, place=self.place, reach=self.reach, length=self.length)
        large = len(self.ids) > APPROXIMATE_ABOVE
        (folder / _ABOUT).write_text(json.dumps({"typical": self.typical, "graph": large}))
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
            return cls(rows, order["ids"], order["place"], order["reach"], order["length"], about["typical"], graph)

    @property
    def is_whole(self) -> bool:
        """Whether the graph that these many rows need is there."""
        return self.graph is not None or len(self.ids) <= APPROXIMATE_ABOVE


def _longest_from(norms: Floats) -> Floats:
    """[m] the largest of each entry and those behind it."""
    return np.maximum.accumulate(norms[::-1])[::-1].astype(np.float32)


def _largest(scores: Floats, k: int) -> npt.NDArray[np.intp]:
    """Positions of the k largest finite scores [m], best first, equal ones in order."""
    part = np.sort(np.argpartition(-scores, k - 1)[:k]) if len(scores) > 2 * k else np.arange(len(scores))
    part = part[np.isfinite(scores[part])]
    return part[np.argsort(-scores[part], kind="stable")][:k]
