"""A logged answer made again, from the log and the bundle alone.

*Exactly* means: the same items in the same order, and every score the same number to its last bit. The service may have
computed the answer together with those of up to 15 other requests, over an item table that has changed since. Neither
makes a difference: no operation's result for one request depends on the others beside it, which the tests hold the
models to, and the rows that were read of the item table are in the log. It is promised for the code, the libraries and
the kind of processor that answered: others may add up numbers in another order, and a score then differs in its last
digits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from feature_repo.request_log import LoggedAnswer, LoggedRequest, RequestLog
from flows.errors import NotLoggedError, ReplayError
from infra.settings import Settings
from models import bundle, registry
from models.item_rows import ItemRows
from models.recommender import Recommendation, Recommender
from models.rungs import RANKED, LastAnswer, ask_of, made_up, ranked
from models.state import UserState

Line = tuple[str, float]
"""An item and its score."""


@dataclass(frozen=True)
class Replayed:
    """An answer as it was logged, and as it is when it is made again."""

    request: LoggedRequest
    answer: LoggedAnswer
    items: list[Recommendation]
    names: Mapping[str, str]
    """item_id -> name, as of the bundle"""

    @property
    def logged(self) -> list[Line]:
        return list(zip(self.answer.items, self.answer.scores, strict=True))

    @property
    def again(self) -> list[Line]:
        return [(item.item_id, item.score) for item in self.items]

    @property
    def is_same(self) -> bool:
        return self.logged == self.again

    @property
    def verdict(self) -> str:
        """What became of it, in a sentence."""
        if self.is_same:
            return "The same, to the last bit of every score"
        if [item for item, _ in self.logged] != [item for item, _ in self.again]:
            return "Other items, or in another order"
        apart = max(abs(one - other) for (_, one), (_, other) in zip(self.logged, self.again, strict=True))
        return f"The same order, with scores up to {apart:.1e} apart: was it answered by another machine or code?"


def replay_answer(request_id: str, config: Settings) -> Replayed:
    """Answer a logged request again with the bundle that answered it, on the rung of the ladder that answered.

    Raises:
        NotLoggedError: the log does not hold it.
        ReplayError: its bundle is gone, or what was logged does not fit the bundle or this code.
        ItemRowsError: what was logged of the item table is damaged, or of another version.
        BundleError: the bundle is damaged.
    """
    request = _found(request_id, config)
    answer = request.answer
    if answer is None:
        raise ReplayError(f"request {request_id} was logged before answers were: there is nothing to compare with")
    try:
        folder = registry.bundle_path(request.model)
    except registry.NoChampionError as error:
        raise ReplayError(f"request {request_id} was answered by a bundle that is gone: {error}") from error
    registry.check(folder)
    features = bundle.manifest(folder)["features"]
    if request.values and list(request.values) != features:
        changed = sorted(set(features).symmetric_difference(request.values)) or "their order"
        raise ReplayError(f"request {request_id}: the logged features are not those of {request.model} ({changed})")
    recommender = bundle.load(folder)
    then = recommender.with_item_table(ItemRows.unpack(request.item_rows or b"").over(recommender.items))
    with threadpool_limits(1):  # as in the service
        items = _again(request, answer, then)
    return Replayed(request, answer, items, recommender.item_names)


def _found(request_id: str, config: Settings) -> LoggedRequest:
    if config.request_log.exists():  # looking must not make one
        try:
            with closing(RequestLog.of(config)) as log:
                request = log.find(request_id)
        except sqlite3.Error as error:
            raise ReplayError(f"{config.request_log} cannot be read: {error}") from error
        if request is not None:
            return request
    raise NotLoggedError(
        f"request {request_id} is not in {config.request_log}: the service logs a share of its answers, see "
        f"KAIROS_REQUEST_LOG_SHARE ({config.request_log_share:g} here; 1: all), and the oldest go, see "
        f"KAIROS_REQUEST_LOG_MB and KAIROS_REQUEST_LOG_DAYS"
    )


def _again(request: LoggedRequest, answer: LoggedAnswer, recommender: Recommender) -> list[Recommendation]:
    now = request.at.timestamp()
    values = {name.partition(":")[2]: value for name, value in request.values.items()}
    state = UserState.from_row(request.user_id, values or None, now)
    try:
        ask = ask_of(answer.asked, state)
    except TypeError as error:
        raise ReplayError(
            f"request {request.request_id} asked what this code does not know ({error}): replay with the code that "
            f"answered"
        ) from error
    if answer.step in RANKED:
        return ranked(recommender, ask).items
    last = answer.last
    if last is None:
        return made_up(recommender, ask, None)[0]
    before = tuple(Recommendation(item, score, ()) for item, score in zip(last.items, last.scores, strict=True))
    return made_up(recommender, ask, LastAnswer(before, frozenset(last.had)))[0]
