"""From the ranker's heads to probabilities: learned on complete lists of users that the ranker did not learn from.

The lists that the network learns from are thinned out and have a positive each, so its logits are too high for what
happens to all candidates of all users; the order is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from models.calibration import Calibration
from models.items import ItemTable
from models.probabilities import Probabilities
from models.ranker import Ranker, ranker_input
from models.ranker_training import Lists

LEAST: Final = 10
"""Rows of either label that a head needs: of fewer one learns nothing about how often it happens."""
_TOGETHER: Final = 64


def fit_probabilities(
    ranker: Ranker, lists: Iterable[Lists], table: ItemTable, horizon_s: float
) -> Probabilities | None:
    """A calibration for each head with enough rows of either label.

    Args:
        ranker: fitted.
        lists: complete ones of users that it was not fitted on, those without a positive among them.
        table: the items' categoricals.
        horizon_s: how long after the cut of the lists the labels reach.

    Returns:
        None if no head has enough.
    """
    logits, labels = head_rows(ranker, lists, table)
    heads = {
        head: Calibration.best(logits[:, at], labels[:, at].astype(np.float64))
        for at, head in enumerate(ranker.heads)
        if min(labels[:, at].sum(), (~labels[:, at]).sum()) >= LEAST
    }
    return Probabilities(horizon_s, heads) if heads else None


def head_rows(
    ranker: Ranker, lists: Iterable[Lists], table: ItemTable
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """[N, H] logits and [N, H] labels of all candidates of the lists."""
    heads = len(ranker.heads)
    logits, labels = [np.empty((0, heads), dtype=np.float32)], [np.empty((0, heads), dtype=np.bool_)]
    for part in lists:
        for start in range(0, len(part), _TOGETHER):
            rows = np.arange(start, min(start + _TOGETHER, len(part)))
            given = ranker_input(part.batch.session_of(rows), part.items[rows], part.features[rows], table)
            inside = given.item > 0
            logits.append(ranker.logits(given)[inside])
            labels.append(part.labels[rows][inside])
    return np.concatenate(logits), np.concatenate(labels)
