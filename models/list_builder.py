"""Candidate lists with what happened next: what the ranker learns from, and its probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.batch import Ints, encode
from models.candidates import CandidateConfig, generate
from models.features import FeatureSpace
from models.ids import IdMap
from models.interactions import Interactions
from models.items import ItemTable
from models.ranker import HEADS, head_of
from models.ranker_training import Lists, RankerTrainingConfig
from models.sources.base import Source
from models.state import UserState
from models.vocabulary import Vocabulary

_CHUNK = 128
_THREADS = 2


@dataclass(frozen=True)
class Snapshot:
    """What was known at a training cut."""

    cut: float
    """Epoch seconds."""
    states: Sequence[UserState]
    """Users at the cut, from the point-in-time store."""
    items: pd.DataFrame
    """Item features at the cut: `item_id` and any of `models.items.ITEM_COLUMNS`."""


class ListBuilder:
    """What candidate lists are made with."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        vocabulary: Vocabulary,
        events: Interactions,
        heads: Sequence[str],
        target: str,
        candidates: CandidateConfig,
        fit: RankerTrainingConfig,
        others: tuple[str, ...],
    ) -> None:
        self.sources, self.vocabulary, self.events = sources, vocabulary, events
        self.candidates, self.fit = candidates, fit
        self.kinds = [[vocabulary.types.get(kind) for kind in HEADS[head]] for head in heads]
        self.target = list(heads).index(head_of(target))
        self.users = IdMap(events.users)
        self.space = FeatureSpace(tuple(sources), others)

    def numbers(self, users: Sequence[str]) -> Ints:
        """[U] numbers of users; -1 where there are no events of one."""
        return self.users.encode(users) - 1

    def of(self, snapshot: Snapshot, end: float) -> Horizon:
        """The lists of a snapshot, labelled by what happened from its cut to `end` (epoch s)."""
        return Horizon(self, snapshot, end)


class Horizon:
    """Candidate lists with labels for the users of one cut, by the sources as they stand."""

    def __init__(self, builder: ListBuilder, snapshot: Snapshot, end: float) -> None:
        self._with, self._snapshot = builder, snapshot
        self._future = builder.events.between(snapshot.cut, end)
        self._number = builder.numbers([state.user_id for state in snapshot.states])
        """[S] number of the user of each of the snapshot's rows"""
        self._rows = np.flatnonzero(np.isin(self._number, np.unique(self._future.user))).astype(np.int32)
        """Those of the users who did anything in it"""
        self._table = ItemTable.pack(snapshot.items, builder.vocabulary)
        self._had = _keys(builder.events.before(snapshot.cut))
        self._happened = [_keys(self._future.of_kinds(kinds)) for kinds in builder.kinds]
        """For each head"""

    def build(self, users: Ints | None = None) -> Iterator[Lists]:
        """Thinned out lists in chunks; users without a positive among their candidates are left out.

        Args:
            users: [U] numbers; None: of all.
        """
        rows, fit, cut = self._rows_of(users), self._with.fit, int(self._snapshot.cut)

        def thinned(start: int) -> Lists:
            rng = np.random.default_rng((fit.seed, cut, start))
            return self._thinned(self._chunk(rows[start : start + _CHUNK]), rng)

        return _in_threads(thinned, len(rows))

    @property
    def active(self) -> Ints:
        """[U] numbers of the users who did anything in it."""
        return self._number[self._rows]

    def whole(self, users: Ints) -> Iterator[Lists]:
        """The complete lists of some users, with positives or without, in chunks."""
        rows = self._rows_of(users)
        return _in_threads(lambda start: self._chunk(rows[start : start + _CHUNK]), len(rows))

    def _rows_of(self, users: Ints | None) -> Ints:
        return self._rows if users is None else self._rows[np.isin(self.active, users)]

    def _chunk(self, rows: Ints) -> Lists:
        """Complete lists of some rows of the snapshot."""
        builder, user = self._with, self._number[rows]
        batch = encode([self._snapshot.states[row] for row in rows.tolist()], builder.vocabulary, builder.space.others)
        found = generate(builder.sources, batch, builder.candidates)
        key = user[:, None].astype(np.int64) * len(builder.vocabulary.items) + found.items  # [B, C]
        inside = found.items > 0
        return Lists(
            batch=batch.session_of(np.arange(len(rows))),
            items=found.items,
            features=builder.space.compute(batch, found.items, found.scores, self._table).astype(np.float16),
            labels=np.stack([_among(keys, key) & inside for keys in self._happened], axis=-1),  # [B, C, H]
            novel=~_among(self._had, key),
            user=user,
        )

    def _thinned(self, whole: Lists, rng: np.random.Generator) -> Lists:
        """All positives and some of the others."""
        positive = whole.labels[:, :, self._with.target]
        lot = rng.random(positive.shape) + 2.0 * positive + (whole.items > 0)
        chosen = np.sort(np.argsort(-lot, axis=1)[:, : self._with.fit.list_size], axis=1)
        kept = np.flatnonzero(positive.any(axis=1))
        at = (kept[:, None], chosen[kept])
        return Lists(
            batch=whole.batch.session_of(kept),
            items=whole.items[at],
            features=whole.features[at],
            labels=whole.labels[at],
            novel=whole.novel[at],
            user=whole.user[kept],
        )


def _in_threads(chunk: Callable[[int], Lists], count: int) -> Iterator[Lists]:
    """The chunks that begin at each start, without empty ones.

    numpy and torch let go of the interpreter while they select among all items, so two threads help.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        for part in pool.map(chunk, range(0, count, _CHUNK)):
            if len(part):
                yield part


def _keys(events: Interactions) -> Any:
    """One number for each pair of user and item, sorted."""
    return np.unique(events.user.astype(np.int64) * events.n_items + events.item)


def _among(known: Any, keys: Any) -> Any:
    """Which keys are among the sorted known ones; `np.isin` would sort them again for each chunk."""
    if not len(known):
        return np.zeros(keys.shape, dtype=np.bool_)
    return known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
