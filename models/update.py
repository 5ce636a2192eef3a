"""From a model and newer events to the next model, without a full refit.

Sources follow the newer events: the sequence encoder goes on from its weights and matrix factorisation from its
factors, the others, which take seconds, are counted anew. The ranker learns from what users did after the moment at
which an earlier model stood, with that model's own sources as they were then: they cannot know what they are asked to
predict, and nothing is fitted for it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
from lightning.pytorch.loggers import TensorBoardLogger

from feature_repo.schema import EVENT_TYPE, ITEM_ID, PROFILE_COLUMNS
from models.errors import NotUpdatableError
from models.ids import IdMap
from models.inherit import inherit
from models.interactions import Interactions, frame_of, interactions_of, target_of
from models.items import ItemTable, field_values
from models.list_builder import ListBuilder, Snapshot
from models.probabilities import Probabilities
from models.pupils import Pupils
from models.ranker import Ranker, heads_of
from models.ranker_probabilities import fit_probabilities
from models.ranker_training import RankerTrainingConfig, fit_ranker
from models.recommender import Recommender
from models.sources.sequence import Sequence as SequenceSource
from models.state import UserState, other_numbers
from models.training import TrainingConfig, fit_sources, timed
from models.unfinished import Unfinished
from models.vocabulary import ITEM_CATEGORICALS, Vocabulary

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lesson:
    """What the ranker learns from."""

    teacher: Recommender
    """A model that was trained until the cut; its vocabulary is where the updated model's began."""
    cut: float
    """Epoch seconds: what is learned is what happened from then"""
    end: float
    """until then."""
    read: Callable[[Sequence[str]], Snapshot]
    """What was known of some users at the cut"""


@dataclass(frozen=True)
class _Drawn:
    """A lesson, whom it is about, and what was known of them."""

    lesson: Lesson
    pupils: Pupils
    snapshot: Snapshot

    @classmethod
    def of(cls, lesson: Lesson, frame: pd.DataFrame, target: str, config: RankerTrainingConfig) -> Self | None:
        """None: nobody is there to learn from."""
        pupils = Pupils.drawn(frame, lesson.cut, lesson.end, target, config)
        return cls(lesson, pupils, lesson.read(pupils.names)) if pupils.learning else None


def update(
    model: Recommender,
    events: pa.Table | pd.DataFrame,
    items: pd.DataFrame,
    *,
    final_cut: float,
    lesson: Lesson | None,
    config: TrainingConfig,
    run_dir: Path,
    unfinished: Unfinished | None = None,
) -> Recommender:
    """The next model. New items and users enter, what the model knows keeps its place.

    Args:
        model: what to go on from, with a ranker; it is used up.
        events: the event contract's columns, old ones too; rows from `final_cut` on and impressions are not looked at.
        items: item features at the final cut.
        final_cut: epoch seconds; the next model knows nothing from then on.
        lesson: None: the ranker stays as it is.
        config: the choices that the model was trained with, see `RankerTrainingConfig.again`.
        run_dir: where checkpoints and TensorBoard logs go.
        unfinished: as in `train`.

    Raises:
        NotUpdatableError: the model lacks something that these events or states have; train anew.
        EmptyTrainingDataError: no event before the final cut.
        TableError: a column is missing.
    """
    seconds: dict[str, float] = {}
    run_dir.mkdir(parents=True, exist_ok=True)
    with timed(seconds, "prepare"):
        frame = frame_of(events, final_cut)
        drawn = _Drawn.of(lesson, frame, model.target, config.fit) if lesson else None
        states = drawn.snapshot.states if drawn else []
        vocabulary = _grown(model.vocabulary, frame[ITEM_ID].unique(), items, states)
        ranker = _going_on(model, vocabulary, frame, states)
        table = ItemTable.pack(items, vocabulary)
        known = interactions_of(frame, vocabulary)
    figures: dict[str, Any] = {}
    probabilities = model.probabilities
    if drawn:
        figures["ranker"], taught = _teach(ranker, drawn, known, table, config.fit.again(), run_dir, seconds)
        if taught is not None:  # of a head that had too little to learn from, what was known stays
            heads = probabilities.heads if probabilities else {}
            probabilities = replace(taught, heads={**heads, **taught.heads})
    with timed(seconds, "sources"):
        sequence = model.sources[SequenceSource.name]
        assert isinstance(sequence, SequenceSource)
        sequence.keep_track(TensorBoardLogger(run_dir, name="tensorboard/sequence"), unfinished)
        for name, source in model.sources.items():
            source.config = getattr(config, name)  # on as many devices and threads as there are now
            source.go_on()
        fit_sources(model.sources, known, final_cut, seconds)
    figures["seconds"] = seconds
    _log.info("updated: %s", figures)
    return replace(
        model, vocabulary=vocabulary, items=table, ranker=ranker, metrics=figures, probabilities=probabilities
    )


def _teach(
    ranker: Ranker,
    drawn: _Drawn,
    known: Interactions,
    table: ItemTable,
    config: RankerTrainingConfig,
    run_dir: Path,
    seconds: dict[str, float],
) -> tuple[dict[str, float], Probabilities | None]:
    """Fits the ranker in place, and its probabilities, to what happened after the lesson's cut."""
    teacher, end, pupils = drawn.lesson.teacher, drawn.lesson.end, drawn.pupils
    builder = ListBuilder(
        teacher.sources,
        teacher.vocabulary,
        known.before(end).as_known(len(teacher.vocabulary.items)),  # no list proposes item 0
        ranker.heads,
        teacher.target,
        teacher.candidates,
        config,
        teacher.others,
    )
    with timed(seconds, "lists"):
        horizon = builder.of(drawn.snapshot, end)
        lists = list(horizon.build(builder.numbers(pupils.learning)))
    if not lists:
        return {}, None
    with timed(seconds, "ranker"):
        figures = fit_ranker(ranker, lists, table, config, run_dir, scaled=True)
    with timed(seconds, "probabilities"):
        spared = horizon.whole(builder.numbers(pupils.spared))
        probabilities = fit_probabilities(ranker, spared, table, end - drawn.snapshot.cut)
    return {**figures, "lists": float(sum(map(len, lists)))}, probabilities


def _going_on(model: Recommender, vocabulary: Vocabulary, frame: pd.DataFrame, states: Sequence[UserState]) -> Ranker:
    """The model's ranker, with room for the vocabulary."""
    old = model.ranker
    if old is None:
        raise NotUpdatableError("the model has no ranker; train anew")
    if (target := target_of(frame)) != model.target:
        raise NotUpdatableError(
            f"the model predicts {model.target}, the events would have it predict {target}; train anew"
        )
    if tuple(heads := heads_of(frame[EVENT_TYPE].unique())) != old.heads:
        raise NotUpdatableError(f"the model has heads for {list(old.heads)}, the events for {heads}; train anew")
    if more := set(other_numbers(states)) - set(model.others):
        raise NotUpdatableError(f"the features have numbers that the model does not read, {sorted(more)}; train anew")
    ranker = Ranker.of(old.config, model.space, vocabulary, old.heads, old.target)
    inherit(ranker, old.state_dict())
    ranker.graph = old.graph
    ranker.trees, ranker.trees_weight = old.trees, old.trees_weight
    return ranker.eval()


def _grown(known: Vocabulary, seen: Iterable[str], items: pd.DataFrame, states: Sequence[UserState]) -> Vocabulary:
    """What is new behind what is known, so that every number keeps its meaning.

    Of profiles that is what the drawn users have: the ranker could learn of no other value.
    """
    fields = {}
    for name, ids in known.fields.items():
        if name in ITEM_CATEGORICALS:
            values = field_values(items, name).names
        else:
            column = PROFILE_COLUMNS.index(name)
            values = tuple(sorted({value for state in states if (value := state.profile[column]) is not None}))
        fields[name] = IdMap([*ids.names, *values])
    return replace(known, items=IdMap([*known.items.names, *sorted(seen)]), fields=fields)
