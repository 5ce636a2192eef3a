"""Probabilities for the items of an answer, where a request asks for them: after the ranking, and never at its cost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from models.chances import Chances, chances
from models.probabilities import Probabilities
from models.state import DAY_S
from services.champion import Served
from services.ladder import RANKED_AT_ONCE, Outcome
from services.messages import RecommendAnswer, Step
from services.metrics import FAILURES, stage
from services.ranking import Ranking

log = logging.getLogger("bentoml.kairos.likelihoods")


class Likelihoods:
    """What the model says of its own answers, a few at a time: rankings need the cores. Used on one event loop."""

    def __init__(self, within_s: float) -> None:
        """
        Args:
            within_s: the longest that a request waits for its turn, and then for the model.
        """
        self._within_s = within_s
        self._ranking = Ranking(within_s)
        self._turn = asyncio.Lock()

    async def of(self, served: Served, outcomes: Sequence[Outcome], carts: Sequence[Sequence[str]]) -> list[Chances]:
        """For each outcome, what can be said of its items; nothing if it is not from the best rung, or the model fails.

        Without the user's features the model would take everybody for somebody else. Once it was too slow, it is asked
        no more.

        Args:
            carts: known items of each request.
        """
        told: list[Chances] = [{} for _ in outcomes]
        if served.recommender.probabilities is None:
            return told
        best = [n for n, outcome in enumerate(outcomes) if outcome.step is Step.FULL]
        for start in range(0, len(best), RANKED_AT_ONCE):
            some = best[start : start + RANKED_AT_ONCE]
            states = [outcomes[n].state.with_items(carts[n]) for n in some]
            items = [[item.item_id for item in outcomes[n].items] for n in some]
            try:
                found = await self._asked(partial(chances, served.recommender, states, items), len(some))
            except TimeoutError:
                FAILURES.labels("probabilities").inc()
                log.warning("model %s is too slow to say how likely its answers are", served.tag)
                return told
            except Exception:  # as where the model ranks; the answers themselves are there
                FAILURES.labels("probabilities").inc()
                log.exception("model %s failed to say how likely its answers are", served.tag)
                continue
            for n, one in zip(some, found, strict=True):
                told[n] = one
        return told

    async def _asked(self, work: Callable[[], list[Chances]], requests: int) -> list[Chances]:
        async with asyncio.timeout(self._within_s):
            await self._turn.acquire()
        try:
            with stage("probabilities"):
                return await self._ranking.run(work, requests)
        finally:
            self._turn.release()


def with_probabilities(answer: RecommendAnswer, told: Chances, meaning: Probabilities | None) -> RecommendAnswer:
    """The answer with what is said of its items, and the time that it is about."""
    items = [item.model_copy(update={"probabilities": told.get(item.item_id, {})}) for item in answer.items]
    days = meaning.horizon_s / DAY_S if meaning and told else None
    return answer.model_copy(update={"items": items, "probability_days": days})
