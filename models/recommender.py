"""The served model: states in, ordered recommendations out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from feature_repo.schema import CATEGORY, PURCHASE
from models.batch import Ints, StateBatch, encode
from models.candidates import CandidateConfig, Candidates, Mask, generate, scores_of
from models.features import FeatureSpace
from models.items import ItemTable
from models.ranker import Mode, Ranker, ranker_input
from models.sources.base import Limits, Scores, Source, is_among
from models.sources.popularity import Popularity
from models.state import UserState
from models.vocabulary import Vocabulary

_CHUNK: Final = 128
_FUSION: Final = 60.0
_NO_IDS: Final[Ints] = np.empty(0, dtype=np.int32)
_LEAST_POPULAR: Final = np.float32(-100.0)
"""Where an item stands, by log weight, that nobody has taken."""


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer."""

    item_id: str
    score: float
    """Comparable within one answer only."""
    sources: tuple[str, ...]
    """Which sources proposed it."""


@dataclass(frozen=True)
class Ask:
    """What one request wants of the model."""

    state: UserState
    k: int = 10
    """How many items, at least 1."""
    items: Sequence[str] = ()
    """Of the cart or page: they count as just carted and are not recommended. Unknown ones are ignored, see `known`."""
    exclude: Collection[str] = ()
    """Items to leave out."""
    categories: Collection[str] | None = None
    """Only items of these."""
    novel_only: bool = False
    """Leave out what the user already has (bought, where purchases are the target)."""
    only: Sequence[str] | None = None
    """Order these and no others; what is barred and what the model does not know is left out."""
    companions: bool = False
    """Only what goes with `items`, whatever else the user likes; that decides the order."""


@dataclass(frozen=True)
class Recommender:
    """Everything that one served model is; see `models.bundle` for how it is kept."""

    vocabulary: Vocabulary
    items: ItemTable
    sources: Mapping[str, Source]
    ranker: Ranker | None
    """None if there was nothing to learn from: the sources' ranks are fused instead."""
    target: str
    """The event type that it was trained to predict."""
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    metrics: dict[str, Any] = field(default_factory=dict)
    """Figures of the training, and later of the evaluation."""
    others: tuple[str, ...] = ()
    """Other numbers of the feature store that the ranker learned from, see `FeatureSpace`."""

    @cached_property
    def space(self) -> FeatureSpace:
        """The ranker's ordered features."""
        return FeatureSpace(tuple(self.sources), self.others)

    @property
    def item_names(self) -> dict[str, str]:
        """item_id -> name, the id itself where there is none."""
        names = self.items.names.tolist()
        return {item: names[index] or item for index, item in enumerate(self.vocabulary.items.names, start=1)}

    def with_item_table(self, items: pd.DataFrame) -> Recommender:
        """The same model over newer item features; items that it was not trained with are skipped."""
        return replace(self, items=ItemTable.pack(items, self.vocabulary))

    def known(self, item_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Splits items into those that the model knows and those that it doesn't, in order."""
        known = [item for item in item_ids if item in self.vocabulary.items]
        return known, [item for item in item_ids if item not in self.vocabulary.items]

    def popular(
        self, k: int, *, categories: Collection[str] | None = None, exclude: Collection[str] = ()
    ) -> list[Recommendation]:
        """What everybody takes now: the answer for a user of whom nothing is known or can be read."""
        asked = self.sources[Popularity.name].ask(encode([UserState.empty("", 0.0)], self.vocabulary))
        ids = asked.best(k, Limits([self._sorted_ids(exclude)], [self._allowed(categories)]))
        ids = ids[:, ids[0] > 0]
        return [
            Recommendation(self.vocabulary.items.names[item - 1], float(value), (Popularity.name,))
            for item, value in zip(ids[0].tolist(), asked.of(ids)[0].tolist(), strict=True)
        ]

    def recommend(
        self,
        states: Sequence[UserState],
        k: int,
        *,
        novel_only: bool = False,
        exclude: Sequence[Collection[str]] | None = None,
        items: Sequence[Sequence[str]] | None = None,
        categories: Collection[str] | None = None,
        mode: Mode = "hybrid",
    ) -> list[list[Recommendation]]:
        """The best k items per user, best first; fewer only where fewer are allowed. See `Ask` for the arguments, of
        which `exclude` and `items` are per user."""
        asks = [
            Ask(
                state=state,
                k=k,
                items=items[row] if items else (),
                exclude=exclude[row] if exclude else (),
                categories=categories,
                novel_only=novel_only,
            )
            for row, state in enumerate(states)
        ]
        return self.answer(asks, mode)

    def answer(self, asks: Sequence[Ask], mode: Mode = "hybrid") -> list[list[Recommendation]]:
        """Answers requests together: what one of them asks changes nothing about another's answer.

        Args:
            asks: what is wanted.
            mode: which score orders.
        """
        answers: list[list[Recommendation]] = []
        for start in range(0, len(asks), _CHUNK):
            answers.extend(self._answers(asks[start : start + _CHUNK], mode))
        return answers

    def _answers(self, asks: Sequence[Ask], mode: Mode) -> list[list[Recommendation]]:
        states = [ask.state.with_items(self.known(ask.items)[0]) for ask in asks]
        limits = self._limits(asks)
        batch = encode(states, self.vocabulary, self.others)
        wanted = [self._sorted_ids(ask.only) if ask.only is not None else None for ask in asks]
        candidates = self._candidates(asks, batch, limits, wanted)
        scores = self._order(batch, candidates, mode)
        anything: Mask = np.asarray(batch.session_item.any(axis=1))
        anything[batch.own_row] = True
        answers = []
        for row, ask in enumerate(asks):
            answer = self._best(candidates, scores[row], row, ask, limits, wanted[row]) if anything[row] else []
            if len(answer) < ask.k and not ask.companions:
                answer.extend(self._from_below(ask, answer, limits.barred[row], wanted[row]))
            answers.append(answer)
        return answers

    def _candidates(
        self, asks: Sequence[Ask], batch: StateBatch, limits: Limits, wanted: Sequence[Ints | None]
    ) -> Candidates:
        further = _padded([ids if ids is not None else _NO_IDS for ids in wanted])
        if not any(ask.companions for ask in asks):
            return generate(self.sources, batch, self.candidates, limits, further)
        # What goes with the items says only who knows nothing but the items.
        alone = [
            UserState.empty("", ask.state.now).with_items(self.known(ask.items)[0]) if ask.companions else ask.state
            for ask in asks
        ]
        found = generate(self.sources, encode(alone, self.vocabulary, self.others), self.candidates, limits, further)
        scores = scores_of(self.sources, batch, found.items)
        return Candidates(found.items, scores, found.proposed)

    def _best(
        self, candidates: Candidates, scores: Scores, row: int, ask: Ask, limits: Limits, wanted: Ints | None
    ) -> list[Recommendation]:
        items = candidates.items[row]
        admitted = (items > 0) & ~is_among(items, limits.barred[row])
        if (allowed := limits.allowed[row]) is not None:
            admitted &= is_among(items, allowed)
        if wanted is not None:
            admitted &= is_among(items, wanted)
        at = np.flatnonzero(admitted)
        at = at[np.argsort(-scores[at], kind="stable")[: ask.k]]
        names = self.vocabulary.items.names
        proposed = candidates.proposed if wanted is None else _with_score(candidates)
        return [
            Recommendation(
                names[items[column] - 1],
                float(scores[column]),
                tuple(name for name, mask in proposed.items() if mask[row, column]),
            )
            for column in at.tolist()
        ]

    def _from_below(
        self, ask: Ask, answer: list[Recommendation], barred: Ints, wanted: Ints | None
    ) -> list[Recommendation]:
        """What is popular, for the places that the ranking left empty."""
        taken = {item.item_id for item in answer} | set(self.vocabulary.items.decode(barred))
        if wanted is None:
            more = self.popular(ask.k - len(answer), categories=ask.categories, exclude=taken)
        else:
            more = [item for item in self._popularity_of(wanted, ask.categories) if item.item_id not in taken]
        return self._below(answer, more[: ask.k - len(answer)])

    def _popularity_of(self, ids: Ints, categories: Collection[str] | None) -> list[Recommendation]:
        """Certain items by popularity; those that nobody took lately come last."""
        if (allowed := self._allowed(categories)) is not None:
            ids = ids[is_among(ids, allowed)]
        asked = self.sources[Popularity.name].ask(encode([UserState.empty("", 0.0)], self.vocabulary))
        scores = np.maximum(asked.of(ids[None, :])[0], _LEAST_POPULAR)
        order = np.argsort(-scores, kind="stable")
        return [
            Recommendation(self.vocabulary.items.names[ids[at] - 1], float(scores[at]), (Popularity.name,))
            for at in order.tolist()
        ]

    def _order(self, batch: StateBatch, candidates: Candidates, mode: Mode) -> Scores:
        """[B, C] the score that orders the answer."""
        if self.ranker is None:
            return fused(candidates)
        features = self.space.compute(batch, candidates.items, candidates.scores, self.items)
        return self.ranker.score(ranker_input(batch, candidates.items, features, self.items), mode)

    def _limits(self, asks: Sequence[Ask]) -> Limits:
        bought = self.target == PURCHASE
        barred = [
            self._sorted_ids({*ask.exclude, *ask.items, *(ask.state.had(bought=bought) if ask.novel_only else ())})
            for ask in asks
        ]
        return Limits(barred, [self._allowed(ask.categories) for ask in asks])

    def _allowed(self, categories: Collection[str] | None) -> Ints | None:
        """Sorted ids of the categories' items; None: all items."""
        if categories is None:
            return None
        codes = self.vocabulary.fields[CATEGORY].encode(list(categories))
        parts = [self.items.of_category(code) for code in np.unique(codes[codes > 0]).tolist()]
        return np.sort(np.concatenate([_NO_IDS, *parts]))

    def _sorted_ids(self, items: Collection[str]) -> Ints:
        """The known ones' inside ids."""
        ids = np.unique(self.vocabulary.items.encode(list(items)))
        return ids[ids > 0]

    @staticmethod
    def _below(answer: list[Recommendation], more: list[Recommendation]) -> list[Recommendation]:
        """More recommendations, with scores that keep them below the answer's."""
        if not answer or not more:
            return more
        shift = min(0.0, answer[-1].score - more[0].score - 1.0)
        return [replace(item, score=item.score + shift) for item in more]


def fused(candidates: Candidates) -> Scores:
    """[B, C] reciprocal rank fusion (Cormack et al., 2009) of the sources: what orders without a trained ranker."""
    total = np.zeros(candidates.items.shape, dtype=np.float32)
    for score in candidates.scores.values():
        order = np.argsort(-score, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(score.shape[1]), score.shape), axis=1)
        total += np.where(np.isfinite(score), 1.0 / (_FUSION + rank), 0.0).astype(np.float32)
    return total


def _with_score(candidates: Candidates) -> dict[str, Mask]:
    """Per source [B, C] what it would propose, if not among its best."""
    return {name: np.isfinite(scores) for name, scores in candidates.scores.items()}


def _padded(ids: Sequence[Ints]) -> Ints:
    """[B, T] filled up with 0."""
    out = np.zeros((len(ids), max(map(len, ids), default=0)), dtype=np.int32)
    for row, some in enumerate(ids):
        out[row, : len(some)] = some
    return out
