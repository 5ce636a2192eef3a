"""A share of the requests is kept with what they read and what was answered, beside the answers.

From such a record an answer can be made again to the last bit, see `flows.replay_answer`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from feature_repo.online import OnlineRow
from feature_repo.request_log import LoggedAnswer, LoggedList, LoggedRequest, RequestLog
from infra.settings import Settings
from models.batch import Ints
from models.item_rows import ItemRows
from models.recommender import Ask, Recommendation
from models.rungs import LastAnswer, asked_of
from services.champion import VARIANT, Served
from services.messages import Step
from services.metrics import FAILURES

log = logging.getLogger("bentoml.kairos.requests")

WAITING: Final = 200
"""Requests that may wait to be written; more are not kept, as an answer must never wait for the disk."""
CERTAIN: Final = 1.0
"""The propensity of every item: nothing in the order is left to chance."""
_SPAN: Final = 16**8


@dataclass(frozen=True)
class Read:
    """A user's features as a request met them."""

    row: OnlineRow
    applied: int
    """Position in the event log, from before the row was read."""


@dataclass(frozen=True)
class GivenAnswer:
    """An answer, and all that it was made from."""

    request_id: str
    """Random, in hexadecimal."""
    at: datetime
    endpoint: str
    served: Served
    ask: Ask
    """With the user's state."""
    step: Step
    items: Sequence[Recommendation]
    read: Read | None
    """None: nobody was named, or the store was down."""
    candidates: Ints | None
    """What the model compared, see `Answered`; None: it did not rank."""
    last: LastAnswer | None
    """The user's last answer, if it was looked at."""


class RequestSample:
    """Chooses requests by their ids and writes them in the background. One per process, used on one event loop.

    Args:
        applied: tells the position in the event log up to which the features know the events.
    """

    def __init__(self, settings: Settings, applied: Callable[[], int]) -> None:
        self._settings = settings
        self._applied = applied
        self._waiting: asyncio.Queue[GivenAnswer] = asyncio.Queue(WAITING)
        self._log: RequestLog | None = None
        self._is_failing = False

    def position(self) -> int:
        """To be asked before the features are read: at least so far they know the events."""
        return self._applied()

    def keep(self, answer: GivenAnswer) -> None:
        """Keep an answer if it is of the sample; returns at once."""
        if int(answer.request_id[:8], 16) >= self._settings.request_log_share * _SPAN:
            return
        try:
            self._waiting.put_nowait(answer)
        except asyncio.QueueFull:
            FAILURES.labels("request_log").inc()

    async def write_on(self) -> None:
        """Write what is kept, until cancelled."""
        while True:
            answers = [await self._waiting.get()]
            await self._write(answers + self._drained())

    async def close(self) -> None:
        """Write what still waits."""
        if answers := self._drained():
            await self._write(answers)
        if self._log:
            self._log.close()

    def _drained(self) -> list[GivenAnswer]:
        return [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]

    async def _write(self, answers: Sequence[GivenAnswer]) -> None:
        try:
            await asyncio.to_thread(self._append, answers)
        except Exception as error:  # noqa: BLE001 - a log of answers is not worth any of them
            FAILURES.labels("request_log").inc()
            if not self._is_failing:
                log.error("requests cannot be logged, going on without: %s: %s", type(error).__name__, error)
            self._is_failing = True
        else:
            self._is_failing = False

    def _append(self, answers: Sequence[GivenAnswer]) -> None:
        if self._log is None:
            self._log = RequestLog.of(self._settings)
        self._log.append([_logged(answer) for answer in answers])


def _logged(given: GivenAnswer) -> LoggedRequest:
    served, ask, read = given.served, given.ask, given.read
    last = LoggedList(*_columns(given.last.items), tuple(sorted(given.last.had))) if given.last else None
    items, scores = _columns(given.items)
    certain = (CERTAIN,) * len(items)
    return LoggedRequest(
        request_id=given.request_id,
        user_id=ask.state.user_id,
        at=given.at,
        model=served.tag,
        applied=read.applied if read else 0,
        values={name: read.row.values.get(name.partition(":")[2]) for name in served.features} if read else {},
        moments=read.row.moments if read else {},
        answer=LoggedAnswer(given.endpoint, VARIANT, given.step.value, asked_of(ask), items, scores, certain, last),
        item_rows=ItemRows.read_by(ask, given.candidates, served.recommender, served.looks).pack(),
    )


def _columns(items: Sequence[Recommendation]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    return tuple(item.item_id for item in items), tuple(item.score for item in items)
