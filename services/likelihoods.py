"""Probabilities for the items of an answer, where a request asks for them: after the ranking, and never at its cost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from models.chances import Chances, chances
from models.probabilities import Probabilities
from models.state import DAY_S
from services.champion import Served
from services.ladder import Outcome
from services.messages import RecommendAnswer, Step
from services.metrics import FAILURES, stage
from services.ranking import Ranking

log = logging.getLogger("bentoml.kairos.likelihoods")


class Likelihoods:
    """What the model says of its own answers. Used on one event loop."""

    def __init__(self, within_s: float) -> None:
        """
        Args:
            within_s: the longest that a few requests wait for it.
        """
        self._ranking = Ranking(within_s)

    async def of(self, served: Served, outcomes: Sequence[Outcome], carts: Sequence[Sequence[str]]) -> list[Chances]:
        """For each outcome, what can be said of its items; nothing if it is not from the best rung, or the model fails.

        Without the user's features the model would take everybody for somebody else.

        Args:
            carts: known items of each request.
        """
        best = [n for n, outcome in enumerate(outcomes) if outcome.step is Step.FULL]
        told: list[Chances] = [{} for _ in outcomes]
        if not best or served.recommender.probabilities is None:
            return told
        states = [outcomes[n].state.with_items(carts[n]) for n in best]
        items = [[item.item_id for item in outcomes[n].items] for n in best]
        try:
            with stage("probabilities"):
                found = await self._ranking.run(partial(chances, served.recommender, states, items))
        except Exception:  # as where the model ranks; the answer itself is there
            FAILURES.labels("probabilities").inc()
            log.exception("model %s failed to say how likely its answers are", served.tag)
            return told
        for n, one in zip(best, found, strict=True):
            told[n] = one
        return told


def with_probabilities(answer: RecommendAnswer, told: Chances, meaning: Probabilities | None) -> RecommendAnswer:
    """The answer with what is said of its items, and the time that it is about."""
    items = [item.model_copy(update={"probabilities": told.get(item.item_id, {})}) for item in answer.items]
    days = meaning.horizon_s / DAY_S if meaning and told else None
    return answer.model_copy(update={"items": items, "probability_days": days})
