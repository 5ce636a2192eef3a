"""The filters against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from models.histories import states_of
from models.sources.graph_filter import GraphFilter, GraphFilterConfig
from models.state import DAY_S
from tests.models.logs import log_of

# Users 0 to 3: {1, 2}, {1, 2, 3}, {1, 3}, {4}.
LOG = log_of(
    [(0, 1, "view", 0.0), (0, 2, "view", 0.0), (1, 1, "view", 0.0), (1, 2, "view", 0.0), (1, 3, "view", 0.0),
     (2, 1, "view", 0.0), (2, 3, "view", 0.0), (3, 4, "view", 0.0)]
)  # fmt: skip
TAKEN = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
DAMPED = TAKEN / np.sqrt(np.outer(TAKEN.sum(axis=1), TAKEN.sum(axis=0)))
LINEAR = DAMPED.T @ DAMPED


def scores(config: GraphFilterConfig) -> np.ndarray:
    asked = states_of(LOG, np.arange(4), np.full(4, DAY_S), 10)
    return GraphFilter(config).fit(LOG, DAY_S).scores(asked)[:, 1:]


def test_linear_filter_is_who_took_the_same() -> None:
    assert scores(GraphFilterConfig(low_pass=0.0)) == pytest.approx(TAKEN @ LINEAR, abs=1e-6)


def test_sharpening_decays_what_the_linear_filter_lets_through() -> None:
    for_time = 0.2
    expected = TAKEN @ LINEAR @ expm(-for_time * LINEAR)
    found = scores(GraphFilterConfig(low_pass=0.0, sharpen=for_time))
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.abs(found - TAKEN @ LINEAR).max() > 0.01
