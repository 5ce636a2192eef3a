"""From events and snapshots to a recommender.

Nothing peeks: at each cut the sources are fitted on the events before it, the states and item features are the
snapshot's own, and the labels are what happened between this cut and the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from lightning.pytorch.loggers import TensorBoardLogger

from feature_repo.schema import EVENT_TYPE, ITEM_ID, PROFILE_COLUMNS
from models.batch import Ints, encode
from models.boosted import BoostedConfig
from models.candidates import CandidateConfig, generate
from models.features import FeatureSpace
from models.ids import IdMap
from models.interactions import Interactions, frame_of, interactions_of, target_of
from models.items import ItemTable, field_values
from models.probabilities import Probabilities
from models.ranker import HEADS, Ranker, RankerConfig, head_of
from models.ranker_blend import add_trees
from models.ranker_probabilities import fit_probabilities
from models.ranker_training import Lists, RankerTrainingConfig, fit_ranker, held_users, spared_users
from models.recommender import Recommender
from models.sources.als import Als, AlsConfig
from models.sources.base import Source
from models.sources.encoder import SequenceConfig
from models.sources.neighbours import Neighbours, NeighboursConfig
from models.sources.own import Own, OwnConfig
from models.sources.popularity import Popularity, PopularityConfig
from models.sources.sequence import Sequence as SequenceSource
from models.state import UserState, other_numbers
from models.unfinished import Unfinished
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

_log = logging.getLogger(__name__)
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


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that can be chosen about a training; the parts are documented where they are used."""

    own: OwnConfig = field(default_factory=OwnConfig)
    neighbours: NeighboursConfig = field(default_factory=NeighboursConfig)
    als: AlsConfig = field(default_factory=AlsConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    fit: RankerTrainingConfig = field(default_factory=RankerTrainingConfig)
    trees: BoostedConfig | None = None
    """None: the network ranks alone."""


def train(
    events: pa.Table | pd.DataFrame,
    snapshots: Iterable[Snapshot],
    items: pd.DataFrame,
    *,
    final_cut: float,
    config: TrainingConfig = TrainingConfig(),
    run_dir: Path,
    unfinished: Unfinished | None = None,
) -> Recommender:
    """Trains the whole model.

    Args:
        events: the event contract's columns; rows from `final_cut` on and impressions are not looked at.
        snapshots: training cuts, oldest first, all before `final_cut`; may be lazy, one is held at a time. A snapshot's
            labels are the events from its cut to the next one's, the last one's to `final_cut`.
        items: item features at the final cut.
        final_cut: epoch seconds; the model knows nothing from then on.
        config: choices.
        run_dir: where checkpoints and TensorBoard logs go.
        unfinished: where the sequence encoder, by far the longest of the fits on large data, keeps its epochs for the
            next attempt, should this one be killed.

    Raises:
        EmptyTrainingDataError: no event before the final cut.
        TableError: a column is missing.
    """
    seconds: dict[str, float] = {}
    run_dir.mkdir(parents=True, exist_ok=True)
    with _timed(seconds, "prepare"):
        frame = frame_of(events, final_cut)
        target = target_of(frame)
        kinds = set(frame[EVENT_TYPE].unique())
        heads = [head for head, of in HEADS.items() if kinds.intersection(of)]
        lazy = iter(snapshots)
        first = next(lazy, None)
        vocabulary = _vocabulary(frame, items, [] if first is None else first.states)
        known = interactions_of(frame, vocabulary)
    sources: dict[str, Source] = {
        Own.name: Own(config.own),
        Neighbours.name: Neighbours(config.neighbours),
        Als.name: Als(config.als),
        SequenceSource.name: SequenceSource(
            config.sequence, TensorBoardLogger(run_dir, name="tensorboard/sequence"), unfinished
        ),
        Popularity.name: Popularity(config.popularity),
    }
    others = () if first is None else other_numbers(first.states)
    builder = _ListBuilder(sources, vocabulary, known, heads, target, config, others)
    lists: list[Lists] = []
    for snapshot, end in _with_ends(first, lazy, final_cut):
        with _timed(seconds, "sources"):
            _fit(sources, known.before(snapshot.cut), snapshot.cut, seconds)
        with _timed(seconds, "lists"):
            lists.extend(builder.build(snapshot, end))
    table = ItemTable.pack(items, vocabulary)
    ranker: Ranker | None = None
    probabilities: Probabilities | None = None
    figures: dict[str, Any] = {}
    if lists:
        space = builder.space
        ranker = _new_ranker(config.ranker, space, vocabulary, heads, target)
        with _timed(seconds, "ranker"):
            figures["ranker"] = fit_ranker(ranker, lists, table, config.fit, run_dir)
        if config.trees is not None:
            with _timed(seconds, "trees"):
                figures["ranker"] |= add_trees(ranker, lists, held_users(lists, config.fit), table, config.trees)
        with _timed(seconds, "probabilities"):  # the sources still are as of the last snapshot
            users = spared_users(lists, builder.active(snapshot, end), config.fit)
            spared = builder.whole(snapshot, end, users)
            probabilities = fit_probabilities(ranker, spared, table, end - snapshot.cut)
        figures["ranker"]["lists"] = float(sum(map(len, lists)))
    lists.clear()
    with _timed(seconds, "sources"):
        _fit(sources, known, final_cut, seconds)
    figures["seconds"] = seconds
    _log.info("trained: %s", figures)
    return Recommender(vocabulary, table, sources, ranker, target, config.candidates, figures, others, probabilities)


class _ListBuilder:
    """Candidate lists with labels for the users of one cut."""

    def __init__(
        self,
        sources: dict[str, Source],
        vocabulary: Vocabulary,
        events: Interactions,
        heads: Sequence[str],
        target: str,
        config: TrainingConfig,
        others: tuple[str, ...],
    ) -> None:
        self.sources, self.vocabulary, self.events, self.config = sources, vocabulary, events, config
        self.kinds = [[vocabulary.types.get(kind) for kind in HEADS[head]] for head in heads]
        self.target = list(heads).index(head_of(target))
        self.users = IdMap(events.users)
        self.space = FeatureSpace(tuple(sources), others)

    def build(self, snapshot: Snapshot, end: float) -> Iterator[Lists]:
        """Thinned out lists in chunks; users without a positive among their candidates are left out."""
        rows, number = self._active(snapshot, end)
        chunk = self._chunks(snapshot, end)

        def thinned(start: int) -> Lists:
            some = rows[start : start + _CHUNK]
            rng = np.random.default_rng((self.config.fit.seed, int(snapshot.cut), start))
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
            found = generate(self.sources, batch, self.config.candidates)
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
        chosen = np.sort(np.argsort(-lot, axis=1)[:, : self.config.fit.list_size], axis=1)
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


def _with_ends(first: Snapshot | None, more: Iterator[Snapshot], final_cut: float) -> Iterator[tuple[Snapshot, float]]:
    """Each snapshot with the moment at which its labels end."""
    if first is None:
        return
    current = first
    for following in more:
        yield current, following.cut
        current = following
    yield current, final_cut


def _fit(sources: dict[str, Source], events: Interactions, now: float, seconds: dict[str, float]) -> None:
    for name, source in sources.items():
        with _timed(seconds, f"source_{name}"):
            source.fit(events, now)


def _vocabulary(frame: pd.DataFrame, items: pd.DataFrame, states: Sequence[UserState]) -> Vocabulary:
    fields = {name: field_values(items, name) for name in ITEM_CATEGORICALS}
    for column, name in enumerate(PROFILE_COLUMNS):
        values = {state.profile[column] for state in states} - {None}
        fields[name] = IdMap(sorted(value for value in values if value is not None))
    return Vocabulary(IdMap(sorted(frame[ITEM_ID].unique())), fields)


def _new_ranker(
    config: RankerConfig, space: FeatureSpace, vocabulary: Vocabulary, heads: Sequence[str], target: str
) -> Ranker:
    names = space.names
    return Ranker(
        config,
        n_features=len(names),
        collaborative=space.collaborative,
        n_items=len(vocabulary.items),
        code_sizes=vocabulary.sizes(ITEM_CATEGORICALS),
        profile_sizes=vocabulary.sizes(PROFILE_COLUMNS),
        heads=heads,
        target=head_of(target),
    )


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
