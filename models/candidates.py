"""First stage: a few hundred candidates per user from all sources together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.batch import Ints, StateBatch
from models.index import NOTHING
from models.sources.base import Asked, Limits, Scores, Source
from models.sources.own import Own

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CandidateConfig:
    """How many candidates each source may propose."""

    own: int = 150
    """Items that the user already has, best first."""
    new: int = 60
    """Items that the user does not have yet, per source."""


@dataclass(frozen=True)
class Candidates:
    """Candidates of B users, padded on the right with item 0."""

    items: Ints
    """[B, C]"""
    scores: dict[str, Scores]
    """[B, C] per source, `NOTHING` where it doesn't propose the item at all"""
    proposed: dict[str, Mask]
    """[B, C] per source: the item is among its own best"""


def generate(
    sources: Mapping[str, Source],
    batch: StateBatch,
    config: CandidateConfig,
    limits: Limits | None = None,
    further: Ints | None = None,
) -> Candidates:
    """The union of every source's best.

    Args:
        sources: by name.
        batch: B users.
        config: how many.
        limits: what may be proposed; None: everything.
        further: [B, T] items that are candidates whatever the sources and the limits say, 0 where there are fewer.
    """
    limits = limits or Limits.none(len(batch))
    new = limits.without(batch.own_row, batch.own_item)
    asked = {name: source.ask(batch) for name, source in sources.items()}
    best = {
        name: one.best(config.own, limits) if name == Own.name else one.best(config.new, new)
        for name, one in asked.items()
    }
    items = _union(np.concatenate([*best.values(), *([] if further is None else [further])], axis=1))
    return Candidates(items, _of(asked, items), _members(items, best))


def scores_of(sources: Mapping[str, Source], batch: StateBatch, items: Ints) -> dict[str, Scores]:
    """Every source's scores of items [B, C], `NOTHING` where padded."""
    return _of({name: source.ask(batch) for name, source in sources.items()}, items)


def _of(asked: Mapping[str, Asked], items: Ints) -> dict[str, Scores]:
    inside = items > 0
    return {name: np.where(inside, one.of(items), NOTHING) for name, one in asked.items()}


def _union(ids: Ints) -> Ints:
    """[B, T] with repetitions and zeros -> [B, C] ascending without, zeros on the right."""
    ids = np.sort(ids, axis=1)
    repeated = np.zeros(ids.shape, dtype=bool)
    repeated[:, 1:] = ids[:, 1:] == ids[:, :-1]
    ids = np.where(repeated, 0, ids)
    order = np.argsort(ids == 0, axis=1, kind="stable")
    ids = np.take_along_axis(ids, order, axis=1)
    width = max(1, int((ids > 0).sum(axis=1).max(initial=0)))
    return np.ascontiguousarray(ids[:, :width])


def _members(items: Ints, best: Mapping[str, Ints]) -> dict[str, Mask]:
    """For each source [B, C] whether an item is among the row's best [B, T]."""
    inside = items > 0
    step = np.int64(int(items.max(initial=0)) + 1)
    rows = np.arange(len(items), dtype=np.int64)[:, None] * step
    keys = (rows + items)[inside]  # ascending: by row, and within one by id
    found: dict[str, Mask] = {}
    for name, ids in best.items():
        member = np.zeros(len(keys), dtype=bool)
        member[np.searchsorted(keys, (rows + ids)[ids > 0])] = True
        found[name] = np.zeros(items.shape, dtype=bool)
        found[name][inside] = member
    return found
