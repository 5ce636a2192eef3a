"""The ladder: whatever is down behind the service, there is an answer from a lower rung."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from feature_repo.schema import PURCHASE
from models.recommender import Ask, Recommendation, Recommender, below
from models.state import UserState
from services.champion import Served
from services.errors import StoreDownError
from services.last_answers import KEPT, LastAnswer, LastAnswers, fitting
from services.messages import Step
from services.metrics import ANSWERS, FAILURES, stage
from services.online import OnlineFeatures
from services.ranking import Ranking
from services.request_log import RequestSample

log = logging.getLogger("bentoml.kairos.ladder")

MODEL_ERRORS = (RuntimeError, ValueError, LookupError, ArithmeticError)
"""What numpy and torch make of a row that the model cannot digest."""
READS_AT_ONCE = 4
"""Of one batch: a read's time limit runs from its start, and more at once would only wait for one another."""


@dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    request_id: str
    state: UserState
    """The user as far as could be read."""
    step: Step
    items: list[Recommendation]


class Ladder:
    """From a request's user to its items. Used on one event loop."""

    def __init__(self, online: OnlineFeatures, ranking: Ranking, requests: RequestSample | None) -> None:
        """
        Args:
            requests: keeps what a share of the requests reads; None: nobody does.
        """
        self._online = online
        self._ranking = ranking
        self._requests = requests
        self._last = LastAnswers()

    async def answer(self, served: Served, asks: Sequence[Ask], now: datetime) -> list[Outcome]:
        """One outcome per request, in their order.

        Args:
            served: the model that answers.
            asks: with the state of a user of whom only the id is known; an empty id is nobody's.
            now: the moment of asking.
        """
        gate = asyncio.Semaphore(READS_AT_ONCE)

        async def read(ask: Ask) -> Outcome:
            async with gate:
                return await self.read(served, ask, now)

        outcomes = await asyncio.gather(*(read(ask) for ask in asks))
        asked = [replace(ask, state=outcome.state) for ask, outcome in zip(asks, outcomes, strict=True)]
        able = [n for n, outcome in enumerate(outcomes) if outcome.step in (Step.FULL, Step.NO_FEATURES)]
        answers = dict(zip(able, await self._ranked(served, [asked[n] for n in able]), strict=True))
        done = [
            await self._done(served, ask, outcome, answers.get(n))
            for n, (ask, outcome) in enumerate(zip(asked, outcomes, strict=True))
        ]
        for outcome in done:
            ANSWERS.labels(outcome.step.value).inc()
        return done

    async def read(self, served: Served, ask: Ask, now: datetime) -> Outcome:
        """The user's state, and the best rung that can be had with it; no items yet."""
        request_id, user = uuid.uuid4().hex, ask.state.user_id
        if not user:
            return Outcome(request_id, ask.state, Step.FULL, [])
        position = self._requests.position() if self._requests else 0
        try:
            row = await self._online.row(user, served.features, now)
        except StoreDownError:
            # What the request names is a session too; without it nothing personal is left to say.
            is_told = bool(ask.items) or ask.only is not None
            return Outcome(request_id, ask.state, Step.NO_FEATURES if is_told else Step.POPULAR, [])
        if self._requests:
            self._requests.keep(request_id, user, now, served.tag, position, served.features, row)
        return Outcome(request_id, UserState.from_row(user, row.values, now.timestamp()), Step.FULL, [])

    async def _ranked(self, served: Served, asks: Sequence[Ask]) -> list[list[Recommendation] | None]:
        """The model's answers; None where it failed or took too long."""
        if not asks:
            return []
        more = [replace(ask, k=max(ask.k, KEPT)) if _is_kept(ask) else ask for ask in asks]
        try:
            with stage("rank"):
                return list(await self._ranking.answer(served.recommender, more))
        except TimeoutError:
            FAILURES.labels("model_time").inc()
            log.warning("model %s took too long over %d requests", served.tag, len(asks))
            return [None] * len(asks)
        except MODEL_ERRORS:
            if len(asks) > 1:  # one request that the model cannot digest must not cost the others their answers
                return [answer for ask in asks for answer in await self._ranked(served, [ask])]
            FAILURES.labels("model").inc()
            log.exception("model %s failed on a request, answering from a lower rung", served.tag)
            return [None]

    async def _done(self, served: Served, ask: Ask, outcome: Outcome, answer: list[Recommendation] | None) -> Outcome:
        user = ask.state.user_id
        if answer is None:
            # Not on the ranking's threads: a model that hangs may have taken them all.
            last = self._last.find(user) if _is_personal(ask) else None
            step, items = await asyncio.to_thread(_made_up, served.recommender, ask, last)
            return replace(outcome, step=step, items=items)
        if outcome.step is Step.FULL and _is_kept(ask) and not ask.state.is_unknown:
            self._last.keep(user, answer, ask.state.had(bought=served.recommender.target == PURCHASE))
        return replace(outcome, items=answer[: ask.k])


def _made_up(recommender: Recommender, ask: Ask, last: LastAnswer | None) -> tuple[Step, list[Recommendation]]:
    """The user's last answer as far as it fits, filled up with popular items; else popular items alone."""
    had = {*ask.state.had(bought=recommender.target == PURCHASE), *(last.had if last else ())}
    barred = {*ask.exclude, *ask.items, *(had if ask.novel_only else ())}
    items = fitting(last, replace(ask, exclude=barred), recommender) if last else []
    if not items:
        return Step.POPULAR, recommender.popular(ask.k, categories=ask.categories, exclude=barred, only=ask.only)
    if len(items) < ask.k:
        taken = barred.union(item.item_id for item in items)
        more = recommender.popular(ask.k - len(items), categories=ask.categories, exclude=taken)
        items += below(items, more)
    return Step.CACHED, items


def _is_personal(ask: Ask) -> bool:
    """Whether it asks what a user likes, rather than about certain items."""
    return bool(ask.state.user_id) and ask.only is None and not ask.companions


def _is_kept(ask: Ask) -> bool:
    """Whether the answer serves the user's later requests too; a category's page is none of the others."""
    return _is_personal(ask) and ask.categories is None
