"""From messages to what is asked of the model, and back; the ladder in between makes up for what is down."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from feature_repo.clock import Clock
from models.explanation import Explanation
from models.recommender import Ask, Recommendation
from models.state import UserState
from services import endpoints as e
from services.champion import VARIANT, ChampionWatch, Served
from services.errors import NoModelError
from services.explaining import explain_answer
from services.ladder import Ladder, Outcome
from services.likelihoods import Likelihoods, with_probabilities
from services.messages import (
    BatchAnswer,
    BatchRequest,
    CartRequest,
    ExplainAnswer,
    ExplainRequest,
    RankAnswer,
    RankedItem,
    RankRequest,
    RecommendAnswer,
    RecommendedItem,
    RecommendRequest,
    Ruled,
    SimilarRequest,
    Step,
)
from services.metrics import FAILURES, stage
from services.online import OnlineFeatures
from services.ranking import Ranking
from services.request_log import RequestSample
from services.ruling import rules_of

log = logging.getLogger("bentoml.kairos.pipeline")

EXPLAIN_WITHIN_S = 2.0
"""An explanation is read by a person who asked for it."""


class RecommendPipeline:
    """Answers requests. Every method raises `NoModelError` if there is no model at all, and nothing else."""

    def __init__(
        self,
        champions: ChampionWatch,
        online: OnlineFeatures,
        clock: Clock,
        requests: RequestSample | None = None,
        *,
        rank_within_s: float,
    ) -> None:
        """
        Args:
            requests: keeps a share of the answers and what they were made from; None: nobody does.
            rank_within_s: the longest that one request waits for the model.
        """
        self._champions = champions
        self._clock = clock
        self._ladder = Ladder(online, Ranking(rank_within_s), requests)
        self._likelihoods = Likelihoods(rank_within_s)
        self._explaining = Ranking(EXPLAIN_WITHIN_S)

    async def answer(self, request: RecommendRequest) -> RecommendAnswer:
        """The best items for a user now."""
        [answer] = await self._recommended([request], e.RECOMMEND)
        return answer

    async def batch(self, request: BatchRequest) -> BatchAnswer:
        """One answer per request, in their order."""
        return BatchAnswer(answers=await self._recommended(request.requests, e.BATCH))

    async def _recommended(self, requests: Sequence[RecommendRequest], endpoint: e.Endpoint) -> list[RecommendAnswer]:
        served, now = self._served(), self._clock.now()
        split = [served.recommender.known(request.items) for request in requests]
        asks = [_ask(request, known, now) for request, (known, _) in zip(requests, split, strict=True)]
        outcomes = await self._ladder.answer(served, asks, now, endpoint.path)
        answers = [
            _recommend_answer(served, request, outcome, unknown)
            for request, outcome, (_, unknown) in zip(requests, outcomes, split, strict=True)
        ]
        asking = [n for n, request in enumerate(requests) if request.probabilities]
        told = await self._likelihoods.of(served, [outcomes[n] for n in asking], [asks[n].items for n in asking])
        for n, chances in zip(asking, told, strict=True):
            answers[n] = with_probabilities(answers[n], chances, served.recommender.probabilities)
        return answers

    async def similar(self, request: SimilarRequest) -> RecommendAnswer:
        """Items like one item; what suits the user if nobody knows that item."""
        return await self._companions(request, [request.item_id], e.SIMILAR)

    async def cart(self, request: CartRequest) -> RecommendAnswer:
        """What goes well with some items; what suits the user if nobody knows any of them."""
        return await self._companions(request, request.items, e.CART)

    async def rank(self, request: RankRequest) -> RankAnswer:
        """Given items in the order that suits a user."""
        served, now = self._served(), self._clock.now()
        given = list(dict.fromkeys(request.items))
        known, unknown = served.recommender.known(given)
        ask = Ask(state=_nameless(request.user_id, now), k=max(len(known), 1), only=known)
        [outcome] = await self._ladder.answer(served, [ask], now, e.RANK.path)
        ordered = [
            RankedItem(item_id=item.item_id, name=name, score=item.score, sources=list(item.sources))
            for item, name in _named(served, outcome.items)
        ]
        ordered += [RankedItem(item_id=item, name=item, score=None, sources=[]) for item in unknown]
        return RankAnswer(
            items=ordered,
            unknown_items=unknown,
            request_id=outcome.request_id,
            model_version=served.version,
            variant=VARIANT,
            served_by=outcome.step,
            user_known=not outcome.state.is_unknown,
        )

    async def explain(self, request: ExplainRequest) -> ExplainAnswer:
        """What speaks for an item; the reasons are missing on the lower rungs."""
        served, now = self._served(), self._clock.now()
        ask = Ask(state=_nameless(request.user_id, now), only=[request.item_id])
        outcome = await self._ladder.read(served, ask, now)
        found, step = await self._explained(served, outcome, request.item_id)
        return explain_answer(served, replace(outcome, step=step), request.item_id, found)

    async def _explained(self, served: Served, outcome: Outcome, item: str) -> tuple[Explanation, Step]:
        try:
            with stage("explain"):
                work = partial(served.recommender.explain, outcome.state, item)
                return await self._explaining.run(work), outcome.step
        except Exception:  # as where the model ranks
            FAILURES.labels("explanation").inc()
            log.exception("model %s failed to explain", served.tag)
            return Explanation(), Step.POPULAR

    async def _companions(
        self, request: SimilarRequest | CartRequest, items: Sequence[str], endpoint: e.Endpoint
    ) -> RecommendAnswer:
        served, now = self._served(), self._clock.now()
        known, unknown = served.recommender.known(items)
        ask = _ask(request, known, now, companions=bool(known))
        [outcome] = await self._ladder.answer(served, [ask], now, endpoint.path)
        return _recommend_answer(served, request, outcome, unknown)

    def _served(self) -> Served:
        served = self._champions.current
        if served is None:
            raise NoModelError
        return served


def _ask(
    request: RecommendRequest | SimilarRequest | CartRequest,
    items: Sequence[str],
    now: datetime,
    *,
    companions: bool = False,
) -> Ask:
    """What a request wants of the model, given those of its items that the model knows."""
    return Ask(
        state=_nameless(request.user_id, now),
        k=request.k,
        items=items,
        exclude=request.exclude,
        categories=request.allowed_categories,
        novel_only=request.novel_only,
        rest=True,
        companions=companions,
        in_stock=request.in_stock_only,
        rules=rules_of(request),
    )


def _nameless(user: str | None, now: datetime) -> UserState:
    """A user of whom only the id is known, if that."""
    return UserState.empty(user or "", now.timestamp())


def _named(served: Served, items: Sequence[Recommendation]) -> list[tuple[Recommendation, str]]:
    return [(item, served.names.get(item.item_id, item.item_id)) for item in items]


def _recommend_answer(served: Served, request: Ruled, outcome: Outcome, unknown: list[str]) -> RecommendAnswer:
    _, unknown_pins = served.recommender.known([pin.item_id for pin in request.pin])
    return RecommendAnswer(
        items=[
            RecommendedItem(item_id=item.item_id, name=name, score=item.score, sources=list(item.sources))
            for item, name in _named(served, outcome.items)
        ],
        request_id=outcome.request_id,
        model_version=served.version,
        variant=VARIANT,
        served_by=outcome.step,
        user_known=not outcome.state.is_unknown,
        unknown_items=list(dict.fromkeys([*unknown, *unknown_pins])),
    )
