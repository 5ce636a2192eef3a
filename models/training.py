"""From events and snapshots to a recommender.

Nothing peeks: at each cut the sources are fitted on the events before it, the states and item features are the
snapshot's own, and the labels are what happened between this cut and the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from lightning.pytorch.loggers import TensorBoardLogger

from feature_repo.schema import EVENT_TYPE, ITEM_ID, PROFILE_COLUMNS
from models.boosted import BoostedConfig
from models.candidates import CandidateConfig
from models.ids import IdMap
from models.interactions import Interactions, frame_of, interactions_of, target_of
from models.items import ItemTable, field_values
from models.list_builder import ListBuilder, Snapshot
from models.probabilities import Probabilities
from models.ranker import Ranker, RankerConfig, head_of, heads_of
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
    with timed(seconds, "prepare"):
        frame = frame_of(events, final_cut)
        target = target_of(frame)
        heads = heads_of(frame[EVENT_TYPE].unique())
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
    builder = ListBuilder(sources, vocabulary, known, heads, target, config.candidates, config.fit, others)
    lists: list[Lists] = []
    for snapshot, end in _with_ends(first, lazy, final_cut):
        with timed(seconds, "sources"):
            fit_sources(sources, known.before(snapshot.cut), snapshot.cut, seconds)
        with timed(seconds, "lists"):
            horizon = builder.of(snapshot, end)
            lists.extend(horizon.build())
    table = ItemTable.pack(items, vocabulary)
    ranker: Ranker | None = None
    probabilities: Probabilities | None = None
    figures: dict[str, Any] = {}
    if lists:
        ranker = Ranker.of(config.ranker, builder.space, vocabulary, heads, head_of(target))
        with timed(seconds, "ranker"):
            figures["ranker"] = fit_ranker(ranker, lists, table, config.fit, run_dir)
        if config.trees is not None:
            with timed(seconds, "trees"):
                figures["ranker"] |= add_trees(ranker, lists, held_users(lists, config.fit), table, config.trees)
        with timed(seconds, "probabilities"):  # the sources still are as of the last snapshot
            spared = horizon.whole(spared_users(lists, horizon.active, config.fit))
            probabilities = fit_probabilities(ranker, spared, table, end - snapshot.cut)
        figures["ranker"]["lists"] = float(sum(map(len, lists)))
    lists.clear()
    with timed(seconds, "sources"):
        fit_sources(sources, known, final_cut, seconds)
    figures["seconds"] = seconds
    _log.info("trained: %s", figures)
    return Recommender(vocabulary, table, sources, ranker, target, config.candidates, figures, others, probabilities)


def _with_ends(first: Snapshot | None, more: Iterator[Snapshot], final_cut: float) -> Iterator[tuple[Snapshot, float]]:
    """Each snapshot with the moment at which its labels end."""
    if first is None:
        return
    current = first
    for following in more:
        yield current, following.cut
        current = following
    yield current, final_cut


def fit_sources(sources: Mapping[str, Source], events: Interactions, now: float, seconds: dict[str, float]) -> None:
    """Each as of `now` (epoch s); adds to the seconds of its step."""
    for name, source in sources.items():
        with timed(seconds, f"source_{name}"):
            source.fit(events, now)


def _vocabulary(frame: pd.DataFrame, items: pd.DataFrame, states: Sequence[UserState]) -> Vocabulary:
    fields = {name: field_values(items, name) for name in ITEM_CATEGORICALS}
    for column, name in enumerate(PROFILE_COLUMNS):
        values = {state.profile[column] for state in states} - {None}
        fields[name] = IdMap(sorted(value for value in values if value is not None))
    return Vocabulary(IdMap(sorted(frame[ITEM_ID].unique())), fields)


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Adds what passes to the seconds of a step."""
    start = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
