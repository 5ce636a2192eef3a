"""The served model: states in, ordered recommendations out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from typing import Any, Final

import numpy as np

from feature_repo.schema import CATEGORY, PURCHASE
from models.batch import Ints, StateBatch, encode
from models.candidates import CandidateConfig, Candidates, Mask, generate, scores_of
from models.explanation import Explanation, FeatureReason, events_for, features_of, sources_of
from models.features import FeatureSpace
from models.ids import is_among
from models.items import ItemNames, ItemTable
from models.probabilities import Probabilities
from models.ranker import Mode, Ranker, RankerInput, ranker_input
from models.reranking import POOL, Pool, arranged
from models.resting import resting
from models.rules import Rules
from models.sources.base import Limits, Scores, Source
from models.sources.own import Own
from models.sources.popularity import Popularity
from models.state import UserState
from models.vocabulary import Vocabulary

Timed = Callable[[str], AbstractContextManager[None]]
"""Observes a stage, by its name."""
_CHUNK: Final = 128
_FUSION: Final = 60.0
_NO_IDS: Final[Ints] = np.empty(0, dtype=np.int32)
PINNED: Final = "pinned"
"""Stands first among the sources of an item that a rule has put into the answer."""
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
    rest: bool = False
    """Leave out what was bought and is not due yet, see `models.resting`."""
    only: Sequence[str] | None = None
    """Order these and no others; what is barred and what the model does not know is left out."""
    companions: bool = False
    """Only what goes with `items`, whatever else the user likes; that decides the order."""
    in_stock: bool = False
    """Leave out what is known to be out of stock."""
    rules: Rules | None = None
    """How the answer departs from the order of the scores; None: not at all."""


@dataclass(frozen=True)
class Answered:
    """An answer, and which items were compared for it."""

    items: list[Recommendation]
    candidates: Ints
    """[C] inside ids, 0 where padded"""
    best: list[Recommendation]
    """What the model liked best, whatever the rules made of it: the answer itself where there are none"""


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
    probabilities: Probabilities | None = None
    """What the ranker's heads mean; None: there was nobody to learn it from."""

    @cached_property
    def space(self) -> FeatureSpace:
        """The ranker's ordered features."""
        return FeatureSpace(tuple(self.sources), self.others)

    @property
    def item_names(self) -> ItemNames:
        """item_id -> name, the id itself where there is none."""
        return ItemNames(self.vocabulary.items, self.items.names)

    def with_item_table(self, items: ItemTable) -> Recommender:
        """The same model over newer item features, packed by its own vocabulary."""
        return replace(self, items=items)

    def known(self, item_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Splits items into those that the model knows and those that it doesn't, in order."""
        known = [item for item in item_ids if item in self.vocabulary.items]
        return known, [item for item in item_ids if item not in self.vocabulary.items]

    def popular(
        self,
        k: int,
        *,
        categories: Collection[str] | None = None,
        exclude: Collection[str] = (),
        only: Collection[str] | None = None,
        in_stock: bool = False,
    ) -> list[Recommendation]:
        """What everybody takes now: the answer for a user of whom nothing is known or can be read.

        Args:
            only: of these items alone, those that nobody takes last; None: of all.
            in_stock: without what is known to be out of stock.
        """
        barred = self._with_sold_out(self._sorted_ids(exclude), in_stock)
        return self._popular(k, barred, self._allowed(categories), None if only is None else self._sorted_ids(only))

    def _popular(self, k: int, barred: Ints, allowed: Ints | None, only: Ints | None = None) -> list[Recommendation]:
        """As `popular`, by sorted inside ids."""
        asked = self.sources[Popularity.name].ask(encode([UserState.empty("", 0.0)], self.vocabulary))
        if only is None:
            ids = asked.best(k, Limits([barred], [allowed]))[0]
        else:
            ids = only
            ids = ids[~is_among(ids, barred) & (True if allowed is None else is_among(ids, allowed))]
        ids = ids[ids > 0]
        scores = np.maximum(asked.of(ids[None, :])[0], _LEAST_POPULAR)
        return [
            Recommendation(self.vocabulary.items.names[ids[at] - 1], float(scores[at]), (Popularity.name,))
            for at in np.argsort(-scores, kind="stable")[:k].tolist()
        ]

    def ruled(self, ask: Ask, found: Sequence[Recommendation], barred: Ints | None = None) -> list[Recommendation]:
        """The answer that a request's rules make of items, filled up with popular ones where they leave too few.

        Args:
            ask: with rules.
            found: what there is, best first, each within what the request allows.
            barred: sorted ids that may not be added; None: those that the request itself names.
        """
        rules, allowed = ask.rules or Rules(), self._allowed(ask.categories)
        if barred is None:
            barred = self._with_sold_out(self._sorted_ids({*ask.exclude, *ask.items}), ask.in_stock)
        pins: dict[str, int | None] = {}
        for pin in rules.pins:
            if pin.place is None or pin.place <= ask.k:
                pins.setdefault(pin.item_id, pin.place)
        missing = self._sorted_ids(pins.keys() - {item.item_id for item in found})
        # One score for all that the model did not propose: a rare pinned item must not stretch the scale on which
        # difference is weighed against scores.
        lowest = found[-1].score - 1.0 if found else 0.0
        pinned = self._popular(len(missing), barred, allowed, missing)
        items = [*found, *(replace(pin, score=lowest) for pin in pinned)]
        while (pool := self._pool(items)).room(rules.per_category) < ask.k:
            # Nothing of the categories that are full: each round adds room, or is the last.
            full = [self.items.of_category(code) for code in pool.full(rules.per_category)]
            more = self._popular(POOL, np.unique(np.concatenate([barred, pool.ids, *full])), allowed)
            if not more:
                break
            items += below(items, more)
        found_at = {item.item_id: at for at, item in enumerate(items)}
        # In the order of the pins: those without a place stand in it.
        places = {found_at[item]: place for item, place in pins.items() if item in found_at}
        answer = [items[at] for at in arranged(pool, rules, ask.k, places)]
        return [replace(item, sources=(PINNED, *item.sources)) if item.item_id in pins else item for item in answer]

    def _pool(self, items: Sequence[Recommendation]) -> Pool:
        ids = self.vocabulary.items.encode([item.item_id for item in items])
        return Pool(ids, np.array([item.score for item in items]), self.items.codes[ids])

    def asleep(self, state: UserState) -> list[str]:
        """The user's items that were bought and are not due yet, see `models.resting`."""
        [ids] = resting(encode([state], self.vocabulary), self.items)
        return self.vocabulary.items.decode(ids.tolist())

    def explain(self, state: UserState, item: str, items: Sequence[str] = ()) -> Explanation:
        """What speaks for an item; empty if the model does not know it.

        Args:
            items: of the cart or page, as in `Ask`.
        """
        inside = self.vocabulary.items.get(item)
        if not inside:
            return Explanation()
        state = state.with_items(self.known(items)[0])
        batch = encode([state], self.vocabulary, self.others)
        events = events_for(self.sources, self.vocabulary, state, inside)
        return Explanation(sources_of(self.sources, batch, inside), events, self._moving(batch, inside))

    def _moving(self, batch: StateBatch, item: int) -> tuple[FeatureReason, ...]:
        """The features that move the ranker for or against an item, among the candidates that it competes with."""
        if self.ranker is None:
            return ()
        found = generate(self.sources, batch, self.candidates, further=np.array([[item]], dtype=np.int32))
        given = self.given(batch, found)
        return features_of(self.ranker, self.space.names, given, int(np.flatnonzero(found.items[0] == item)[0]))

    def recommend(
        self,
        states: Sequence[UserState],
        k: int,
        *,
        novel_only: bool = False,
        rest: bool = False,
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
                rest=rest,
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
        return [answer.items for answer in self.answered(asks, mode)]

    def answered(
        self, asks: Sequence[Ask], mode: Mode = "hybrid", timed: Timed = lambda stage: nullcontext()
    ) -> list[Answered]:
        """As `answer`, with the candidates of each.

        Args:
            timed: around the stages `encode`, `candidates` (`companions` where those are asked for), `score`, `rerank`.
        """
        answers: dict[int, Answered] = {}
        for companions in (False, True):
            rows = [row for row, ask in enumerate(asks) if ask.companions is companions]
            for start in range(0, len(rows), _CHUNK):
                part = rows[start : start + _CHUNK]
                answers |= zip(part, self._answers([asks[row] for row in part], companions, mode, timed), strict=True)
        return [answers[row] for row in range(len(asks))]

    def _answers(self, asks: Sequence[Ask], companions: bool, mode: Mode, timed: Timed) -> list[Answered]:
        with timed("encode"):
            states = [ask.state.with_items(self.known(ask.items)[0]) for ask in asks]
            batch = encode(states, self.vocabulary, self.others)
            limits = self._limits(asks, batch)
            wanted = [None if ask.only is None else self._sorted_ids(ask.only) for ask in asks]
        if companions:
            with timed("companions"):
                candidates, scores = self._companions(asks, batch, limits, mode)
        else:
            with timed("candidates"):
                candidates = generate(self.sources, batch, self.candidates, limits, padded(wanted))
            with timed("score"):
                scores = self._order(batch, candidates, mode)
        with timed("rerank"):
            return self._reranked(asks, batch, candidates, scores, limits, wanted)

    def _reranked(
        self,
        asks: Sequence[Ask],
        batch: StateBatch,
        candidates: Candidates,
        scores: Scores,
        limits: Limits,
        wanted: Sequence[Ints | None],
    ) -> list[Answered]:
        anything: Mask = np.asarray(batch.session_item.any(axis=1))
        anything[batch.own_row] = True
        barred = [self._with_sold_out(out, ask.in_stock) for ask, out in zip(asks, limits.barred, strict=True)]
        limits = replace(limits, barred=barred)
        answers = []
        for row, ask in enumerate(asks):
            count = ask.k if ask.rules is None else candidates.items.shape[1]
            best = self._best(candidates, scores[row], row, count, limits, wanted[row]) if anything[row] else []
            if ask.rules is not None:
                answers.append(Answered(self.ruled(ask, best, barred[row]), candidates.items[row], best[:POOL]))
                continue
            if len(best) < ask.k:
                best.extend(self._from_below(ask, best, limits, row))
            answers.append(Answered(best, candidates.items[row], best))
        return answers

    def _companions(
        self, asks: Sequence[Ask], batch: StateBatch, limits: Limits, mode: Mode
    ) -> tuple[Candidates, Scores]:
        """What goes with the items alone, say those who know of no user; the user has one voice in the order."""
        alone = [UserState.empty("", ask.state.now).with_items(self.known(ask.items)[0]) for ask in asks]
        sources = {name: source for name, source in self.sources.items() if name not in (Own.name, Popularity.name)}
        found = generate(sources, encode(alone, self.vocabulary, self.others), self.candidates, limits)
        candidates = Candidates(found.items, scores_of(self.sources, batch, found.items), found.proposed)
        return candidates, fused({**found.scores, "user": self._order(batch, candidates, mode)})

    def _best(
        self, candidates: Candidates, scores: Scores, row: int, count: int, limits: Limits, wanted: Ints | None
    ) -> list[Recommendation]:
        items = candidates.items[row]
        admitted = (items > 0) & ~is_among(items, limits.barred[row])
        if (allowed := limits.allowed[row]) is not None:
            admitted &= is_among(items, allowed)
        if wanted is not None:
            admitted &= is_among(items, wanted)
        at = np.flatnonzero(admitted)
        at = at[np.argsort(-scores[at], kind="stable")[:count]]
        proposed = candidates.proposed if wanted is None else _with_score(candidates)
        by = np.stack([mask[row, at] for mask in proposed.values()], axis=1)  # [k, sources]
        names, sources = self.vocabulary.items.names, tuple(proposed)
        return [
            Recommendation(names[item - 1], score, tuple(compress(sources, proposers)))
            for item, score, proposers in zip(items[at].tolist(), scores[at].tolist(), by.tolist(), strict=True)
        ]

    def _from_below(self, ask: Ask, answer: list[Recommendation], limits: Limits, row: int) -> list[Recommendation]:
        """What is popular, for the places that the ranking left empty."""
        taken = np.union1d(limits.barred[row], self.vocabulary.items.encode([item.item_id for item in answer]))
        only = None if ask.only is None else self._sorted_ids(ask.only)
        return below(answer, self._popular(ask.k - len(answer), taken, limits.allowed[row], only))

    def _order(self, batch: StateBatch, candidates: Candidates, mode: Mode) -> Scores:
        """[B, C] the score that orders the answer."""
        if self.ranker is None:
            return fused(candidates.scores)
        return self.ranker.score(self.given(batch, candidates), mode)

    def given(self, batch: StateBatch, candidates: Candidates) -> RankerInput:
        """What the ranker reads of the users' candidates."""
        features = self.space.compute(batch, candidates.items, candidates.scores, self.items)
        return ranker_input(batch, candidates.items, features, self.items)

    def _limits(self, asks: Sequence[Ask], batch: StateBatch) -> Limits:
        bought = self.target == PURCHASE
        barred = [
            self._sorted_ids({*ask.exclude, *ask.items, *(ask.state.had(bought=bought) if ask.novel_only else ())})
            for ask in asks
        ]
        if any(ask.rest for ask in asks):
            rests = resting(batch, self.items)
            barred = [
                np.union1d(out, asleep) if ask.rest else out
                for ask, out, asleep in zip(asks, barred, rests, strict=True)
            ]
        return Limits(barred, [self._allowed(ask.categories) for ask in asks])

    def _allowed(self, categories: Collection[str] | None) -> Ints | None:
        """Sorted ids of the categories' items; None: all items."""
        if categories is None:
            return None
        codes = self.vocabulary.fields[CATEGORY].encode(list(categories))
        parts = [self.items.of_category(code) for code in np.unique(codes[codes > 0]).tolist()]
        return np.sort(np.concatenate([_NO_IDS, *parts]))

    def _with_sold_out(self, barred: Ints, in_stock: bool) -> Ints:
        """Sorted ids, those of items that are out of stock among them if they are not wanted."""
        sold_out = self.items.sold_out
        if not in_stock or not len(sold_out):
            return barred
        # Two sorted runs: a stable sort merges them.
        return np.sort(np.concatenate([barred, sold_out]), kind="stable")

    def _sorted_ids(self, items: Collection[str]) -> Ints:
        """The known ones' inside ids."""
        ids = np.unique(self.vocabulary.items.encode(list(items)))
        return ids[ids > 0]


def below(answer: Sequence[Recommendation], more: list[Recommendation]) -> list[Recommendation]:
    """More recommendations, with scores that keep them below the answer's."""
    if not answer or not more:
        return more
    shift = min(0.0, answer[-1].score - more[0].score - 1.0)
    return [replace(item, score=item.score + shift) for item in more]


def fused(scores: Mapping[str, Scores]) -> Scores:
    """[B, C] reciprocal rank fusion (Cormack et al., 2009) of several scores [B, C]: what orders without a ranker."""
    total = np.zeros(next(iter(scores.values())).shape, dtype=np.float32)
    for score in scores.values():
        order = np.argsort(-score, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(score.shape[1]), score.shape), axis=1)
        total += np.where(np.isfinite(score), 1.0 / (_FUSION + rank), 0.0).astype(np.float32)
    return total


def _with_score(candidates: Candidates) -> dict[str, Mask]:
    """Per source [B, C] what it would propose, if not among its best."""
    return {name: np.isfinite(scores) for name, scores in candidates.scores.items()}


def padded(ids: Sequence[Ints | None]) -> Ints | None:
    """[B, T] filled up with 0; None if there are none at all."""
    width = max((len(some) for some in ids if some is not None), default=0)
    if not width:
        return None
    out = np.zeros((len(ids), width), dtype=np.int32)
    for row, some in enumerate(ids):
        if some is not None:
            out[row, : len(some)] = some
    return out
