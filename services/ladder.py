"""The ladder: whatever is down behind the service, there is an answer from a lower rung."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from feature_repo.schema import PURCHASE
from models.recommender import Answered, Ask, Recommendation
from models.rungs import RANKED, LastAnswer, is_kept, is_personal, made_up, widened
from models.state import UserState
from services.champion import Served
from services.errors import StoreDownError
from services.last_answers import LastAnswers
from services.messages import Step
from services.metrics import ANSWERS, FAILURES, stage
from services.online import OnlineFeatures
from services.ranking import Ranking
from services.request_log import GivenAnswer, Read, RequestSample

log = logging.getLogger("bentoml.kairos.ladder")

RANKED_AT_ONCE = 8
"""Of one batch: requests of others get their turn in between."""
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
    read: Read | None = None
    """What the state was made of; None: nobody was named, or the store was down."""


class Ladder:
    """From a request's user to its items. Used on one event loop."""

    def __init__(self, online: OnlineFeatures, ranking: Ranking, requests: RequestSample | None) -> None:
        """
        Args:
            requests: keeps a share of the answers and what they were made from; None: nobody does.
        """
        self._online = online
        self._ranking = ranking
        self._requests = requests
        self._last = LastAnswers()

    async def answer(self, served: Served, asks: Sequence[Ask], now: datetime, endpoint: str) -> list[Outcome]:
        """One outcome per request, in their order.

        Args:
            served: the model that answers.
            asks: with the state of a user of whom only the id is known; an empty id is nobody's.
            now: the moment of asking.
            endpoint: the path that was asked.
        """
        gate = asyncio.Semaphore(READS_AT_ONCE)

        async def read(ask: Ask) -> Outcome:
            async with gate:
                return await self.read(served, ask, now)

        outcomes = await asyncio.gather(*(read(ask) for ask in asks))
        asked = [replace(ask, state=outcome.state) for ask, outcome in zip(asks, outcomes, strict=True)]
        able = [n for n, outcome in enumerate(outcomes) if outcome.step in RANKED]
        answers = dict(zip(able, await self._ranked(served, [asked[n] for n in able]), strict=True))
        done = []
        for n, (ask, met) in enumerate(zip(asked, outcomes, strict=True)):
            answer = answers.get(n)
            outcome, last = await self._done(served, ask, met, answer)
            ANSWERS.labels(outcome.step.value).inc()
            if self._requests:
                given = GivenAnswer(
                    request_id=outcome.request_id,
                    at=now,
                    endpoint=endpoint,
                    served=served,
                    ask=ask,
                    step=outcome.step,
                    items=outcome.items,
                    read=outcome.read,
                    candidates=answer.candidates if answer else None,
                    last=last,
                )
                self._requests.keep(given)
            done.append(outcome)
        return done

    async def read(self, served: Served, ask: Ask, now: datetime) -> Outcome:
        """The user's state, and the best rung that can be had with it; no items yet."""
        request_id, user = uuid.uuid4().hex, ask.state.user_id
        if not user:
            return Outcome(request_id, ask.state, Step.FULL, [])
        position = self._requests.position() if self._requests else 0
        # What the request names is a session too; without it nothing personal is left to say.
        is_told = bool(ask.items) or ask.only is not None
        without = Outcome(request_id, ask.state, Step.NO_FEATURES if is_told else Step.POPULAR, [])
        try:
            row = await self._online.row(user, served.features, now)
            state = UserState.from_row(user, row.values, now.timestamp())
        except StoreDownError:
            return without
        except (ValueError, TypeError, LookupError) as error:
            FAILURES.labels("user_row").inc()
            log.error("a user's features are no such features: %s", type(error).__name__)
            return without
        return Outcome(request_id, state, Step.FULL, [], Read(row, position))

    async def _ranked(self, served: Served, asks: Sequence[Ask]) -> list[Answered | None]:
        """The model's answers; None where it failed or took too long."""
        answers: list[Answered | None] = []
        try:
            for start in range(0, len(asks), RANKED_AT_ONCE):
                answers += await self._few_ranked(served, asks[start : start + RANKED_AT_ONCE])
        except TimeoutError:
            FAILURES.labels("model_time").inc()
            log.warning("model %s took too long over %d requests", served.tag, len(asks) - len(answers))
        return answers + [None] * (len(asks) - len(answers))

    async def _few_ranked(self, served: Served, asks: Sequence[Ask]) -> list[Answered | None]:
        """As `_ranked`, all at once.

        Raises:
            TimeoutError: it took too long.
        """
        try:
            with stage("rank"):
                return list(await self._ranking.answer(served.recommender, widened(asks)))
        except TimeoutError:
            raise
        except Exception:  # numpy, ONNX Runtime and the memory have errors of their own, with no base in common
            if len(asks) > 1:  # one request that the model cannot digest must not cost the others their answers
                return [answer for ask in asks for answer in await self._few_ranked(served, [ask])]
            FAILURES.labels("model").inc()
            log.exception("model %s failed on a request, answering from a lower rung", served.tag)
            return [None]

    async def _done(
        self, served: Served, ask: Ask, outcome: Outcome, answer: Answered | None
    ) -> tuple[Outcome, LastAnswer | None]:
        """The outcome with its items, and the user's last answer if it was looked at."""
        user = ask.state.user_id
        if answer is None:
            # Not on the ranking's threads: a model that hangs may have taken them all.
            last = self._last.find(user) if is_personal(ask) else None
            items, is_cached = await asyncio.to_thread(made_up, served.recommender, ask, last)
            return replace(outcome, step=Step.CACHED if is_cached else Step.POPULAR, items=items), last
        if outcome.step is Step.FULL and is_kept(ask) and not ask.state.is_unknown:
            self._last.keep(user, answer.best, ask.state.had(bought=served.recommender.target == PURCHASE))
        return replace(outcome, items=answer.items[: ask.k]), None
