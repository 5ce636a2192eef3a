"""Trying a model out before requests meet it: real-shaped requests, which also build whatever it builds when needed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from feature_repo.schema import CATEGORY, PURCHASE, SESSION_EVENTS
from models.errors import BundleError
from models.recommender import Recommendation, Recommender
from models.state import DAY_S, OWN, OWN_ITEMS_COLUMN, SESSION_COLUMNS, UserState

K: Final = 10
NOW_S: Final = 1.7e9
"""Some moment in epoch seconds: nobody in here has been to the shop before."""
ANSWER_WITHIN_S: Final = 0.5
ROUNDS: Final = 3


def try_out(recommender: Recommender) -> None:
    """Ask a new model for what requests ask for.

    Raises:
        BundleError: an answer is empty, names an item twice, has a score that is no number, or takes too long.
    """
    _check_weights(recommender)
    warm_up(recommender)
    for whom, ask in _asks(recommender).items():
        took = min(_processor_s(ask) for _ in range(ROUNDS))
        if took > ANSWER_WITHIN_S:
            raise BundleError(
                f"the answer for {whom} takes {took:.2f} s of processor time, longer than {ANSWER_WITHIN_S} s"
            )


def warm_up(recommender: Recommender) -> None:
    """Ask for each kind of answer once.

    Raises:
        BundleError: as `try_out`, but however long it takes.
    """
    for whom, ask in _asks(recommender).items():
        _check(whom, ask())


def _processor_s(ask: Callable[[], object]) -> float:
    """Seconds of processor time, which a busy machine and the requests meanwhile do not add to."""
    began = time.thread_time()
    ask()
    return time.thread_time() - began


def _check(whom: str, answer: Sequence[Recommendation]) -> None:
    if not answer:
        raise BundleError(f"recommends nothing for {whom}; train again")
    if len({item.item_id for item in answer}) < len(answer):
        raise BundleError(f"recommends an item twice for {whom}; train again")
    if not all(math.isfinite(item.score) for item in answer):
        raise BundleError(f"scores for {whom} are no numbers; train again")


def _check_weights(recommender: Recommender) -> None:
    """A score that is no number is left out, and popular items fill the answer: nobody would notice."""
    if recommender.ranker is None:
        return
    for name, weights in recommender.ranker.named_parameters():
        if not weights.isfinite().all():
            raise BundleError(f"the ranker's {name} are no numbers; train again")


def _asks(recommender: Recommender) -> dict[str, Callable[[], Sequence[Recommendation]]]:
    """Who asks -> the request."""
    best = [item.item_id for item in recommender.popular(SESSION_EVENTS)]
    if not best:
        raise BundleError("knows no popular items; train again")
    nobody, regular = UserState.empty("smoke-test", NOW_S), _regular(best)
    category = recommender.vocabulary.fields[CATEGORY].names
    code = int(recommender.items.code(CATEGORY)[recommender.vocabulary.items.get(best[0])])
    return {
        "somebody unknown": lambda: recommender.recommend([nobody], K)[0],
        "a cart": lambda: recommender.recommend([nobody], K, items=[best[:1]])[0],
        "a regular": lambda: recommender.recommend([regular], K)[0],
        "a regular who excludes items": lambda: recommender.recommend([regular], K, exclude=[best[:1]])[0],
        "a category": lambda: recommender.recommend([regular], K, categories=category[code - 1 : code] or None)[0],
    }


def _regular(items: Sequence[str]) -> UserState:
    """A user with a history of these items, a day apart."""
    times = [NOW_S - days * DAY_S for days in range(len(items), 0, -1)]
    session = dict(zip(SESSION_COLUMNS, (items, [PURCHASE] * len(items), times), strict=True))
    own = {name: times if name.endswith("_at") else [1.0] * len(items) for name in OWN}
    return UserState.from_row("smoke-test", {OWN_ITEMS_COLUMN: items, **own, **session}, NOW_S)
