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
    """Candidate lists with labels for the users of one cut."""

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

    def build(self, snapshot: Snapshot, end: float, most: int | None = None) -> Iterator[Lists]:
        """Thinned out lists in chunks; users without a positive among their candidates are left out.

        Args:
            most: of so many users at most, drawn by lot among those with a positive; None: of all.
        """
        rows, number = self._active(snapshot, end)
        if most is not None:
            positive = np.unique(self.events.between(snapshot.cut, end).of_kinds(self.kinds[self.target]).user)
            rows = rows[np.isin(number[rows], positive)]
            rows = np.sort(np.random.default_rng(self.fit.seed).permutation(rows)[:most])
        chunk = self._chunks(snapshot, end)

        def thinned(start: int) -> Lists:
            some = rows[start : start + _CHUNK]
            rng = np.random.default_rng((self.fit.seed, int(snapshot.cut), start))
            return self._thinned(chunk(some, number[some]), rng)

        return _in_threads(thinned, len(rows))

    def active(self, snapshot: Snapshot, end: float) -> Ints:
        """[U] numbers of the snapshot's users who did anything before `end`."""
        rows, number = self._active(snapshot, end)
        return number[rows]

    def whole(self, snapshot: Snapshot, end: float, users: Ints) -> Iterator[Lists]:
        """The complete lists of some users, with positives or without, in chunks."""
        rows, number = self._active(snapshot, end)
        rows = rows[np.isin(number[rows], users)]
        chunk = self._chunks(snapshot, end)
        return _in_threads(lambda start: chunk(some := rows[start : start + _CHUNK], number[some]), len(rows))

    def _active(self, snapshot: Snapshot, end: float) -> tuple[Ints, Ints]:
        """Rows of the snapshot whose users did anything before `end`, and the number of every row's user."""
        active = np.unique(self.events.between(snapshot.cut, end).user)
        number = self.users.encode([state.user_id for state in snapshot.states]) - 1
        return np.flatnonzero(np.isin(number, active)).astype(np.int32), number

    def _chunks(self, snapshot: Snapshot, end: float) -> Callable[[Ints, Ints], Lists]:
        """What makes complete lists of rows of the snapshot, given also the numbers of their users."""
        future = self.events.between(snapshot.cut, end)
        past = self.events.before(snapshot.cut)
        table = ItemTable.pack(snapshot.items, self.vocabulary)
        had = _keys(past.user, past.item, past.n_items)
        happened = [_keys(f.user, f.item, f.n_items) for f in (future.of_kinds(kinds) for kinds in self.kinds)]

        def chunk(rows: Ints, user: Ints) -> Lists:
            batch = encode([snapshot.states[row] for row in rows.tolist()], self.vocabulary, self.space.others)
            found = generate(self.sources, batch, self.candidates)
            key = user[:, None].astype(np.int64) * len(self.vocabulary.items) + found.items  # [B, C]
            inside = found.items > 0
            return Lists(
                batch=batch.session_of(np.arange(len(rows))),
                items=found.items,
                features=self.space.compute(batch, found.items, found.scores, table).astype(np.float16),
                labels=np.stack([np.isin(key, keys) & inside for keys in happened], axis=-1),  # [B, C, H]
                novel=~np.isin(key, had),
                user=user,
            )

        return chunk

    def _thinned(self, whole: Lists, rng: np.random.Generator) -> Lists:
        """All positives and some of the others."""
        positive = whole.labels[:, :, self.target]
        lot = rng.random(positive.shape) + 2.0 * positive + (whole.items > 0)
        chosen = np.sort(np.argsort(-lot, axis=1)[:, : self.fit.list_size], axis=1)
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


def _keys(user: Any, item: Any, n_items: int) -> Any:
    return np.unique(user.astype(np.int64) * n_items + item)
