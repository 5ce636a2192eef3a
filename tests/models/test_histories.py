from __future__ import annotations

import numpy as np
import pytest

from feature_repo.schema import EVENT_WEIGHTS
from models.histories import states_of
from models.state import DAY_S, OWN
from tests.models.logs import log_of

LOG = log_of(
    [
        (0, 1, "view", 1.0), (0, 2, "cart", 2.0), (0, 1, "purchase", 3.0),
        (2, 3, "view", 5.0),
    ],
)  # fmt: skip


def test_states_hold_what_follows_from_the_events() -> None:
    batch = states_of(LOG, np.array([0, 1, 2]), np.array([10.0, 10.0, 10.0]) * DAY_S, length=4)
    assert batch.session_item.tolist() == [[0, 1, 2, 1], [0, 0, 0, 0], [0, 0, 0, 3]]
    assert batch.session_time[0].tolist() == [0.0, DAY_S, 2 * DAY_S, 3 * DAY_S]
    assert batch.own_row.tolist() == [0, 0, 2]
    assert batch.own_item.tolist() == [1, 2, 3]
    own = dict(zip(OWN, batch.own[0], strict=True))
    assert own["own_purchases"] == 1
    assert (own["own_first_at"], own["own_last_at"], own["own_last_purchase_at"]) == (DAY_S, 3 * DAY_S, 3 * DAY_S)
    decayed = EVENT_WEIGHTS["view"] * 0.5 ** (9 / 90) + EVENT_WEIGHTS["purchase"] * 0.5 ** (7 / 90)
    assert own["own_decayed"] == pytest.approx(decayed)
    assert np.isnan(batch.own[1, OWN.index("own_last_purchase_at")])


def test_the_last_events_make_the_session() -> None:
    batch = states_of(LOG, np.array([0]), np.array([10.0]) * DAY_S, length=2)
    assert batch.session_item.tolist() == [[2, 1]]


def test_nobody_is_an_empty_state() -> None:
    batch = states_of(LOG, np.array([1]), np.array([DAY_S]))
    assert not batch.session_item.any()
    assert not len(batch.own_item)
