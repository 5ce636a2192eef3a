"""A request's way: the user's features, the state, the model, the answer; and the ladder where a part is down."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import datetime

from feature_repo.clock import Clock
from models.recommender import Recommendation
from models.state import UserState
from services.champion import VARIANT, ChampionWatch, Served
from services.errors import NoModelError, StoreDownError
from services.messages import RecommendAnswer, RecommendedItem, RecommendRequest, Step
from services.metrics import ANSWERS, FAILURES, stage
from services.online import OnlineFeatures
from services.request_log import RequestSample

log = logging.getLogger("bentoml.kairos.pipeline")

MODEL_ERRORS = (RuntimeError, ValueError, LookupError, ArithmeticError)
"""What numpy and torch make of a row that the model cannot digest."""


class RecommendPipeline:
    """Answers requests. Whatever is down behind it, there is an answer from a lower rung."""

    def __init__(
        self, champions: ChampionWatch, online: OnlineFeatures, clock: Clock, requests: RequestSample | None = None
    ) -> None:
        """
        Args:
            requests: keeps what a share of the requests reads; None: nobody does.
        """
        self._champions = champions
        self._online = online
        self._clock = clock
        self._requests = requests

    async def answer(self, request: RecommendRequest) -> RecommendAnswer:
        """Recommend.

        Raises:
            NoModelError: there is no model at all.
        """
        served = self._champions.current
        if served is None:
            raise NoModelError("no model in service: run `kairos train` and `kairos publish`, or `kairos demo`")
        known, unknown = served.recommender.known(request.items)
        request_id = uuid.uuid4().hex
        state, step = await self._state(served, request, known, self._clock.now(), request_id)
        # The model computes for milliseconds: in a thread, so that the health probes are not held up.
        with stage("rank"):
            items, step = await asyncio.to_thread(_recommend, served, request, state, known, step)
        ANSWERS.labels(step.value).inc()
        return RecommendAnswer(
            items=[
                RecommendedItem(
                    item_id=item.item_id, name=served.names[item.item_id], score=item.score, sources=list(item.sources)
                )
                for item in items
            ],
            request_id=request_id,
            model_version=served.version,
            variant=VARIANT,
            served_by=step,
            user_known=not state.is_unknown,
            unknown_items=unknown,
        )

    async def _state(
        self, served: Served, request: RecommendRequest, known: list[str], now: datetime, request_id: str
    ) -> tuple[UserState, Step]:
        position = self._requests.position() if self._requests else 0
        try:
            row = await self._online.row(request.user_id, served.features, now)
        except StoreDownError:
            # What lies in the cart is a session too; without it nothing personal is left to say.
            return UserState.empty(request.user_id, now.timestamp()), Step.NO_FEATURES if known else Step.POPULAR
        if self._requests:
            self._requests.keep(request_id, request.user_id, now, served.tag, position, served.features, row)
        return UserState.from_row(request.user_id, row.values, now.timestamp()), Step.FULL


def _recommend(
    served: Served, request: RecommendRequest, state: UserState, known: list[str], step: Step
) -> tuple[list[Recommendation], Step]:
    categories = request.allowed_categories
    if step is not Step.POPULAR:
        try:
            [items] = served.recommender.recommend(
                [state],
                request.k,
                novel_only=request.novel_only,
                exclude=[request.exclude],
                items=[known],
                categories=categories,
            )
        except MODEL_ERRORS:
            FAILURES.labels("model").inc()
            log.exception("model %s failed on a request, answering with popular items", served.tag)
        else:
            return items, step
    barred = [*request.exclude, *request.items]
    return served.recommender.popular(request.k, categories=categories, exclude=barred), Step.POPULAR
