"""A client for the service, for shops that are written in Python. It needs httpx and pydantic, no framework."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from feature_repo.event import Event
from services.endpoints import BATCH, CART, EVENTS, EXPLAIN, PROFILE, RANK, RECOMMEND, SIMILAR, Endpoint
from services.messages import (
    BatchAnswer,
    BatchRequest,
    CartRequest,
    EventsAnswer,
    EventsRequest,
    ExplainAnswer,
    ExplainRequest,
    FailureAnswer,
    Health,
    ProfileAnswer,
    ProfileRequest,
    RankAnswer,
    RankRequest,
    RecommendAnswer,
    RecommendRequest,
    SimilarRequest,
)

Answer = TypeVar("Answer", bound=BaseModel)

WORTH_RETRYING = frozenset({429, 502, 503, 504})


class KairosError(RuntimeError):
    """A call that did not succeed.

    Args:
        status: HTTP's; None: the service could not be reached.
        code: one of `services.messages.Code`, or `unreachable`, or `unreadable` for what no Kairos has answered.
        field: the request's field at fault, if it is about one.
        message: for people.
    """

    def __init__(self, status: int | None, code: str, field: str | None, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Retries:
    """How long a call is tried again. Every call of Kairos may be repeated: events carry their ids."""

    times: int = 3
    """Tries after the first."""
    first_wait_s: float = 0.1
    """Doubled each time, and shortened at random by up to half; the service's `Retry-After` counts if it is longer."""
    longest_wait_s: float = 5.0
    """If the service asks for more patience than this, its error is raised at once."""


class KairosClient:
    """Connections are kept and reused; may be shared by threads. Every call raises `KairosError`.

    A request that breaks the message's own rules raises pydantic's `ValidationError` before anything is sent.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        *,
        key: str | None = None,
        timeout_s: float = 2.0,
        retries: Retries = Retries(),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            url: where the service is.
            key: of this client, where keys are in force.
            timeout_s: for connecting, and for each answer.
            retries: for what is worth trying again.
            sleep: how to wait between tries.
        """
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._retries = retries
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(self, user_id: str, **more: Any) -> RecommendAnswer:
        """The best items for a user now; `more` are the fields of `RecommendRequest`."""
        return self._post(RECOMMEND, RecommendRequest(user_id=user_id, **more), RecommendAnswer)

    def recommend_batch(self, requests: Sequence[RecommendRequest]) -> list[RecommendAnswer]:
        """Several at once, answered in their order."""
        return self._post(BATCH, BatchRequest(requests=list(requests)), BatchAnswer).answers

    def similar(self, item_id: str, **more: Any) -> RecommendAnswer:
        """Items that go with one item; `more` are the fields of `SimilarRequest`."""
        return self._post(SIMILAR, SimilarRequest(item_id=item_id, **more), RecommendAnswer)

    def cart(self, items: Sequence[str], **more: Any) -> RecommendAnswer:
        """Items that go well with what lies in a cart; `more` are the fields of `CartRequest`."""
        return self._post(CART, CartRequest(items=list(items), **more), RecommendAnswer)

    def rank(self, items: Sequence[str], user_id: str | None = None) -> RankAnswer:
        """The given items in the order that suits a user."""
        return self._post(RANK, RankRequest(items=list(items), user_id=user_id), RankAnswer)

    def explain(self, user_id: str, item_id: str) -> ExplainAnswer:
        """Why an item for a user."""
        return self._post(EXPLAIN, ExplainRequest(user_id=user_id, item_id=item_id), ExplainAnswer)

    def profile(self, user_id: str) -> ProfileAnswer:
        """What the feature store knows of a user."""
        return self._post(PROFILE, ProfileRequest(user_id=user_id), ProfileAnswer)

    def event(self, user_id: str, item_id: str, event_type: str, **more: Any) -> EventsAnswer:
        """Tell one event; `more` are the fields of `Event`."""
        event = Event.model_validate({"user_id": user_id, "item_id": item_id, "event_type": event_type, **more})
        return self.events([event])

    def events(self, events: Iterable[Event]) -> EventsAnswer:
        """Tell what happened, up to 1,000 events at once.

        An event has its id from when it is made, here or by the caller, so that a repeated call counts it once.
        """
        return self._post(EVENTS, EventsRequest(list(events)), EventsAnswer)

    def health(self) -> Health:
        """How the service is; one that is down is an answer too."""
        answer = self._tried(lambda: self._http.get("/healthz"), Retries(times=0))
        try:
            return Health.model_validate_json(answer.content)
        except ValidationError:
            raise _error(answer) from None

    def _post(self, endpoint: Endpoint, request: BaseModel, answer: type[Answer]) -> Answer:
        body = request.model_dump_json(exclude_none=True)
        got = self._tried(
            lambda: self._http.post(endpoint.path, content=body, headers={"Content-Type": "application/json"}),
            self._retries,
        )
        if not got.is_success:
            raise _error(got)
        try:
            return answer.model_validate_json(got.content)
        except ValidationError as error:
            raise KairosError(got.status_code, "unreadable", None, f"the answer is no {answer.__name__}") from error

    def _tried(self, send: Callable[[], httpx.Response], retries: Retries) -> httpx.Response:
        """The first answer that is not worth retrying, or the last."""
        for wait_s in [*_waits(retries), None]:
            asked_s = 0.0
            try:
                answer = send()
            except httpx.TransportError as error:
                if wait_s is None:
                    what = f"{type(error).__name__}: {error}"
                    raise KairosError(
                        None, "unreachable", None, f"no answer from {self._http.base_url}: {what}"
                    ) from error
            else:
                asked_s = _asked_wait_s(answer)
                if answer.status_code not in WORTH_RETRYING or wait_s is None or asked_s > retries.longest_wait_s:
                    return answer
            self._sleep(max(wait_s, asked_s))
        raise AssertionError("the last try returns or raises")


def _waits(retries: Retries) -> list[float]:
    # At random, so that clients which failed together do not come back together.
    return [
        min(retries.first_wait_s * 2**n, retries.longest_wait_s) * random.uniform(0.5, 1.0)  # noqa: S311
        for n in range(retries.times)
    ]


def _asked_wait_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def _error(answer: httpx.Response) -> KairosError:
    try:
        failure = FailureAnswer.model_validate_json(answer.content).error
    except ValidationError:
        return KairosError(
            answer.status_code, "unreadable", None, f"status {answer.status_code} with no error of Kairos"
        )
    return KairosError(answer.status_code, failure.code, failure.field, failure.message)
