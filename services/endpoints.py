"""The service's paths: one row each, from which the routes, the rights and the OpenAPI document are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from infra.keys import Right
from services import messages as m


@dataclass(frozen=True)
class Endpoint:
    """A POST of JSON that is answered with JSON."""

    path: str
    right: Right
    request: type[BaseModel]
    answer: type[BaseModel]
    summary: str


RECOMMEND: Final = Endpoint(
    "/v1/recommend", Right.RECOMMEND, m.RecommendRequest, m.RecommendAnswer,
    "The best items for a user now. An unknown user gets popular items; what is down is made up for.",
)  # fmt: skip
BATCH: Final = Endpoint(
    "/v1/recommend/batch", Right.RECOMMEND, m.BatchRequest, m.BatchAnswer,
    "Up to 100 recommendation requests, answered in their order.",
)  # fmt: skip
SIMILAR: Final = Endpoint(
    "/v1/similar", Right.RECOMMEND, m.SimilarRequest, m.RecommendAnswer,
    "Items that go with one item, for its page.",
)  # fmt: skip
CART: Final = Endpoint(
    "/v1/cart", Right.RECOMMEND, m.CartRequest, m.RecommendAnswer,
    "Items that go well with what lies in a cart.",
)  # fmt: skip
RANK: Final = Endpoint(
    "/v1/rank", Right.RECOMMEND, m.RankRequest, m.RankAnswer,
    "Up to 1,000 given items in the order that suits a user.",
)  # fmt: skip
EXPLAIN: Final = Endpoint(
    "/v1/explain", Right.RECOMMEND, m.ExplainRequest, m.ExplainAnswer,
    "Why an item for a user: the sources that propose it, the user's events and the features that speak for it.",
)  # fmt: skip
PROFILE: Final = Endpoint(
    "/v1/profile", Right.RECOMMEND, m.ProfileRequest, m.ProfileAnswer,
    "What the feature store knows of a user, by view, for the user's own page.",
)  # fmt: skip
EVENTS: Final = Endpoint(
    "/v1/events", Right.EVENTS, m.EventsRequest, m.EventsAnswer,
    "Tell what somebody did: one event or a list. Answered once the events are durable; sending again is safe.",
)  # fmt: skip

ENDPOINTS: Final = (RECOMMEND, BATCH, SIMILAR, CART, RANK, EXPLAIN, PROFILE, EVENTS)
ALIASES: Final = {"/recommend": RECOMMEND.path, "/events": EVENTS.path}
"""The published paths without a version, which mean the newest one."""
PROBES: Final = frozenset({"/livez", "/readyz", "/healthz"})
"""Open to everybody: who watches over the service has no key."""


def right_for(path: str) -> Right | None:
    """What a key must allow for a path; None: no key is asked for. Everything that is not for clients is `admin`'s."""
    if path in PROBES:
        return None
    return next((endpoint.right for endpoint in ENDPOINTS if endpoint.path == path), Right.ADMIN)
