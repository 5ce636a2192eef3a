"""Real users and real events of the shop that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from feature_repo import schema as s
from feature_repo.store import Features
from infra.settings import settings

LATELY: Final = timedelta(days=60)
EVENTS: Final = 50_000
SEED: Final = 7


@dataclass(frozen=True)
class Shop:
    """Who comes, and what they do."""

    users: list[str]
    """In random order."""
    events: list[tuple[str, str, str]]
    """user, item, event type: the newest ones, oldest first"""


def shop() -> Shop:
    """Of the lake of this process's settings."""
    features = Features.open(settings())
    table = features.events(start=features.lake.newest_event() - LATELY)
    columns = [table[name].to_pylist() for name in (s.USER_ID, s.ITEM_ID, s.EVENT_TYPE)]
    events = list(zip(*columns, strict=True))[-EVENTS:]
    users = sorted({user for user, _, _ in events})
    np.random.default_rng(SEED).shuffle(users)
    return Shop(users, events)
