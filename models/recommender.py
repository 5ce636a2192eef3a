"""The served model: states in, ordered recommendations out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from feature_repo.schema import CATEGORY, PURCHASE
from models.batch import StateBatch, encode
from models.candidates import CandidateConfig, Candidates, Mask, generate
from models.features import FeatureSpace
from models.items import ItemNames, ItemTable
from models.ranker import Ranker, ranker_input
from models.sources.base import NOTHING, Scores, Source, top_k
from models.sources.popularity import Popularity
from models.state import UserState
from models.vocabulary import Vocabulary

Mode = Literal["hybrid", "ranker", "collaborative"]
"""Which of the ranker's scores orders the answer: the blend, the deep one alone, the collaborative one alone."""
_CHUNK: Final = 128
_FUSION: Final = 60.0


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer."""

    item_id: str
    score: float
    """Comparable within one answer only."""
    sources: tuple[str, ...]
    """Which sources proposed it."""


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

    @property
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
        self, k: int, *, categories: Collection[str] | None = None, exclude: Collection[str] = ()
    ) -> list[Recommendation]:
        """What everybody takes now: the answer for a user of whom nothing is known or can be read."""
        ranked = self.sources[Popularity.name].scores(_nobody(self.vocabulary))
        scores = np.where(self._allowed(categories), ranked, NOTHING)
        scores[0, self.vocabulary.items.encode(list(exclude))] = NOTHING
        ids, values = top_k(scores, max(k, 1))
        return [
            Recommendation(self.vocabulary.items.names[item - 1], float(value), (Popularity.name,))
            for item, value in zip(ids[0].tolist(), values[0].tolist(), strict=True)
            if item
        ][:k]

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
        """The best k items per user, best first; fewer only where fewer are allowed.

        Args:
            states: one per user.
            k: how many items, at least 1.
            novel_only: leave out what the user already has (bought, where purchases are the target).
            exclude: per user, items to leave out.
            items: per user, items of the cart or page; they count as just carted and are not recommended.
                Unknown ones are ignored, `known` tells which.
            categories: only items of these.
            mode: which score orders.
        """
        count = len(states)
        barred = [set(part) for part in exclude] if exclude is not None else [set() for _ in range(count)]
        if items is not None:
            known = [self.known(part)[0] for part in items]
            states = [state.with_items(part) for state, part in zip(states, known, strict=True)]
            barred = [out | set(part) for out, part in zip(barred, items, strict=True)]
        if novel_only:
            bought = self.target == PURCHASE
            barred = [out | state.had(bought=bought) for state, out in zip(states, barred, strict=True)]
        allowed = self._allowed(categories)
        answers: list[list[Recommendation]] = []
        for start in range(0, count, _CHUNK):
            part = slice(start, start + _CHUNK)
            batch = encode(states[part], self.vocabulary, self.others)
            excluded = self._excluded(barred[part])
            answers.extend(self._answers(batch, k, allowed, excluded, mode))
        for row, answer in enumerate(answers):
            if len(answer) < k:
                taken = {r.item_id for r in answer} | barred[row]
                answer.extend(self._below(answer, self.popular(k - len(answer), categories=categories, exclude=taken)))
        return answers

    def _answers(
        self, batch: StateBatch, k: int, allowed: Mask, excluded: Mask | None, mode: Mode
    ) -> Iterator[list[Recommendation]]:
        anything: Mask = np.asarray(batch.session_item.any(axis=1))
        anything[batch.own_row] = True
        if not anything.any():
            yield from ([] for _ in range(len(batch)))
            return
        candidates = generate(self.sources, batch, self.candidates, allowed=allowed, excluded=excluded)
        scores = self._order(batch, candidates, mode)
        scores = np.where((candidates.items > 0) & anything[:, None], scores, NOTHING).astype(np.float32)
        at, values = _best(scores, k)
        names = self.vocabulary.items.names
        for row in range(len(batch)):
            answer = []
            for column, value in zip(at[row].tolist(), values[row].tolist(), strict=True):
                if np.isfinite(value):
                    by = tuple(name for name, mask in candidates.proposed.items() if mask[row, column])
                    answer.append(Recommendation(names[candidates.items[row, column] - 1], value, by))
            yield answer

    @torch.inference_mode()
    def _order(self, batch: StateBatch, candidates: Candidates, mode: Mode) -> Scores:
        """[B, C] the score that orders the answer."""
        if self.ranker is None:
            return fused(candidates)
        features = self.space.compute(batch, candidates.items, candidates.scores, self.items)
        scores = self.ranker(ranker_input(batch, candidates.items, features, self.items))
        chosen = {"hybrid": scores.final, "ranker": scores.deep, "collaborative": scores.collaborative}[mode]
        out: Scores = chosen.float().numpy()
        return out

    def _allowed(self, categories: Collection[str] | None) -> Mask:
        """[n_items]"""
        allowed = np.ones(len(self.vocabulary.items), dtype=bool)
        if categories is not None:
            codes = self.vocabulary.fields[CATEGORY].encode(list(categories))
            allowed = np.isin(self.items.code(CATEGORY), codes[codes > 0])
        allowed[0] = False
        return allowed

    def _excluded(self, barred: Sequence[Collection[str]]) -> Mask | None:
        """[B, n_items], None if nothing is."""
        if not any(barred):
            return None
        excluded = np.zeros((len(barred), len(self.vocabulary.items)), dtype=bool)
        for row, out in enumerate(barred):
            excluded[row, self.vocabulary.items.encode(list(out))] = True
        return excluded

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


def _best(scores: Scores, k: int) -> tuple[npt.NDArray[Any], Scores]:
    """Columns [B, k'] and scores of the best k of [B, C]; equal scores in the order of the candidates."""
    at = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return at, np.take_along_axis(scores, at, axis=1)


def _nobody(vocabulary: Vocabulary) -> StateBatch:
    return encode([UserState.empty("", 0.0)], vocabulary)
