"""Every user's last full answer, for when the features or the model are away."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from models.recommender import Recommendation
from models.rungs import LastAnswer

MAX_USERS = 5_000
MAX_AGE_S = 3_600.0


class LastAnswers:
    """The users seen last, in memory; each process has its own. Used on one event loop."""

    def __init__(
        self, users: int = MAX_USERS, max_age_s: float = MAX_AGE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            users: the user whose answer was used longest ago goes when there are more.
            max_age_s: an older answer counts as none.
            clock: seconds that only grow.
        """
        self._users = users
        self._max_age_s = max_age_s
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, LastAnswer]] = OrderedDict()
        """With the moment that each was given at."""

    def keep(self, user: str, items: list[Recommendation], had: set[str]) -> None:
        """Remember what a user was answered, and which items the user had already."""
        known = frozenset(item.item_id for item in items if item.item_id in had)
        self._held[user] = (self._clock(), LastAnswer(tuple(items), known))
        self._held.move_to_end(user)
        if len(self._held) > self._users:
            self._held.popitem(last=False)

    def find(self, user: str) -> LastAnswer | None:
        """The user's last answer, if it is not too old."""
        held = self._held.get(user)
        if held is None:
            return None
        at, last = held
        if self._clock() - at > self._max_age_s:
            del self._held[user]
            return None
        self._held.move_to_end(user)
        return last
