"""Every acknowledged event: is it in the log, once, and do the features know it?"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from typing import Any, Final

from benchmarks.serving.load import Outcome
from benchmarks.serving.traffic import Sent
from feature_repo import schema as s
from feature_repo.event import Event
from feature_repo.event_log import FEATURES_CONSUMER, open_event_log
from feature_repo.store import Features
from infra.settings import settings

CHUNK: Final = 10_000
LOOK_EVERY_S: Final = 0.1
USERS_LOOKED_AT: Final = 200


class Ledger:
    """Opened before the load: only what comes into the log after that is looked at."""

    def __init__(self) -> None:
        self._log = open_event_log(settings())
        self._before = self._log.last()

    def settled_s(self, within_s: float) -> float | None:
        """Seconds until the features have caught up with the log; None: they did not in time."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < within_s:
            if not self._log.waiting(FEATURES_CONSUMER):
                return round(waited, 2)
            time.sleep(LOOK_EVERY_S)
        return None

    def compare(self, outcome: Outcome) -> dict[str, int]:
        """Counts of events: acknowledged, lost, in the log twice, and in the log though nobody was told so."""
        logged = Counter(event.event_id for event in self._events())
        acknowledged = Counter(sent.event_id for sent in outcome.acknowledged)
        return {
            "acknowledged": len(acknowledged),
            "lost": len(acknowledged.keys() - logged.keys()),
            "duplicated": sum(times - 1 for times in logged.values()),
            "unacknowledged but there": len({sent.event_id for sent in outcome.unanswered} & logged.keys()),
        }

    def unknown_to_features(self, outcome: Outcome, prefix: str) -> dict[str, Any]:
        """Looks into the sessions of the users that the load made up: each acknowledged event must be there once.

        An event whose request failed may be there, once too.
        """
        told, maybe = _by_user(outcome.acknowledged, prefix), _by_user(outcome.unanswered, prefix)
        users = sorted(told)[-USERS_LOOKED_AT:]
        if not users:
            return {"users": 0, "missing": 0, "twice": 0}
        rows = Features.open(settings()).online_rows("session", s.USER_ID, users)["session_items"]
        known = {user: Counter(rows.loc[user] if rows.loc[user] is not None else ()) for user in users}
        missing = sum((told[user] - known[user]).total() for user in users)
        twice = sum((known[user] - told[user] - maybe[user]).total() for user in users)
        return {"users": len(users), "missing": missing, "twice": twice}

    @staticmethod
    def wrong(compared: dict[str, int], features: dict[str, Any]) -> int:
        """Events that are lost or doubled, in the log or in the features."""
        return compared["lost"] + compared["duplicated"] + features["missing"] + features["twice"]

    @staticmethod
    def has_proof(compared: dict[str, int], features: dict[str, Any]) -> bool:
        """Whether there was anything that could have been lost."""
        return compared["acknowledged"] > 0 and features["users"] > 0

    def close(self) -> None:
        self._log.close()

    def _events(self) -> Iterator[Event]:
        position = self._before
        while part := self._log.read(position, CHUNK):
            yield from (event for _, event in part)
            position = part[-1][0]


def _by_user(events: Collection[Sent], prefix: str) -> dict[str, Counter[str]]:
    items: dict[str, Counter[str]] = defaultdict(Counter)
    for sent in events:
        if sent.user_id.startswith(prefix):
            items[sent.user_id][sent.item_id] += 1
    return items
