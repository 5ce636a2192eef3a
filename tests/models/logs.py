"""Small logs of events, written by hand or by rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feature_repo.schema import EVENT_TYPES, EVENT_WEIGHTS
from models.interactions import Interactions
from models.state import DAY_S


def log_of(rows: Sequence[tuple[int, int, str, float]], n_items: int | None = None) -> Interactions:
    """Rows of user number, inside item id, event type and day."""
    rows = sorted(rows, key=lambda row: (row[0], row[3]))
    user, item, kind, day = zip(*rows, strict=True)
    return Interactions(
        np.array(user, dtype=np.int32),
        np.array(item, dtype=np.int32),
        np.array([EVENT_TYPES.index(name) + 1 for name in kind], dtype=np.int32),
        np.array(day) * DAY_S,
        tuple(f"u{number}" for number in range(max(user) + 1)),
        n_items or max(item) + 1,
        np.array([0.0, *(EVENT_WEIGHTS[name] for name in EVENT_TYPES)]),
    )
