"""The boosted trees beside the network: fitted on the same lists, weighed against it on users held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from models.batch import Ints
from models.boosted import Boosted, BoostedConfig, RankedRows, Table, rows_of
from models.items import ItemTable
from models.ranker import Ranker, ranker_input
from models.ranker_training import Lists, ndcg_at_10

WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the trees that are tried."""
_TOGETHER: Final = 64


@dataclass(frozen=True)
class _Judged:
    """Held-out lists of one cut with what the network and the trees make of them."""

    network: Table
    """[L, C] log-odds"""
    trees: Table
    """[L, C] likewise"""
    positive: npt.NDArray[np.bool_]
    """[L, C]"""
    inside: npt.NDArray[np.bool_]
    """[L, C]"""
    novel: npt.NDArray[np.bool_]
    """[L, C]"""


def add_trees(
    ranker: Ranker, lists: Sequence[Lists], held: Ints, table: ItemTable, config: BoostedConfig
) -> dict[str, float]:
    """Fits trees on the lists and gives them to the ranker, with the weight that users held out make worth it.

    Args:
        ranker: fitted on the same lists.
        lists: with the held users' among them.
        held: numbers of the users that were not learned from.
        table: the items' categoricals.
        config: of the trees.

    Returns:
        Figures: the number of trees, what their best weight gains relatively, the weight they have. Without
        lists of held users, or without others: nothing is done.
    """
    target = ranker.heads.index(ranker.target)
    is_held = [np.isin(part.user, held) for part in lists]
    training = _rows(lists, [~rows for rows in is_held], target, table)
    validation = _rows(lists, is_held, target, table)
    if not len(training.sizes) or not len(validation.sizes):
        return {}
    trees = Boosted.fit(training, validation, config)
    judged = [
        _judge(ranker, trees, part, rows, target, table)
        for part, kept in zip(lists, is_held, strict=True)
        for rows in _chunks(np.flatnonzero(kept))
    ]
    quality = {weight: _quality(judged, weight) for weight in WEIGHTS}
    best = max(WEIGHTS, key=quality.__getitem__)
    gain = quality[best] / max(quality[0.0], 1e-9) - 1.0
    ranker.trees, ranker.trees_weight = trees, best if gain >= config.least_gain else 0.0
    return {"trees": float(trees.trees), "trees_gain": gain, "trees_weight": ranker.trees_weight}


def _rows(lists: Sequence[Lists], kept: Sequence[npt.NDArray[np.bool_]], target: int, table: ItemTable) -> RankedRows:
    features, labels, sizes = [], [], []
    for part, rows in zip(lists, kept, strict=True):
        items = part.items[rows]
        inside = items > 0
        features.append(rows_of(part.features[rows][inside], table.codes[items[inside]]))
        labels.append(part.labels[rows][inside][:, target].astype(np.int8))
        sizes.append(inside.sum(axis=1).astype(np.int32))
    return RankedRows(np.concatenate(features), np.concatenate(labels), np.concatenate(sizes))


def _chunks(rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    return [rows[start : start + _TOGETHER] for start in range(0, len(rows), _TOGETHER)]


def _judge(
    ranker: Ranker, trees: Boosted, part: Lists, rows: npt.NDArray[np.intp], target: int, table: ItemTable
) -> _Judged:
    given = ranker_input(part.batch.session_of(rows), part.items[rows], part.features[rows], table)
    return _Judged(
        ranker.score(given, "classic"),
        trees.score(given.features, given.codes),
        part.labels[rows][:, :, target],
        given.item > 0,
        part.novel[rows],
    )


def _quality(judged: Sequence[_Judged], weight: float) -> float:
    """NDCG@10 over all candidates plus that over the novel ones, summed over lists."""
    total = 0.0
    for part in judged:
        scores = torch.from_numpy((1.0 - weight) * part.network + weight * part.trees)
        positive, inside, novel = (torch.from_numpy(mask) for mask in (part.positive, part.inside, part.novel))
        for among in (inside, inside & novel):
            count = int((positive & among).any(1).sum())
            total += count * float(ndcg_at_10(scores, positive & among, among))
    return total
