"""Differences that are told from chance, and those that are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.metrics import resampled_rows
from models.significance import against_best, holm


def test_a_small_difference_that_all_users_share_is_found_and_one_by_lot_is_not() -> None:
    random = np.random.default_rng(1)
    best = random.random(400)
    values = {
        "lot": best + random.normal(0.0, 0.3, 400) - 0.001,
        "best": best + 0.002,
        "worse": best - 0.01 + random.normal(0.0, 0.01, 400),
    }
    found = against_best(values, resampled_rows(400, 999, seed=2))
    assert set(found) == {"lot", "worse"}
    assert found["worse"].high < 0
    assert found["worse"].p == pytest.approx(1 / 1000)
    assert found["worse"].p_holm == pytest.approx(2 / 1000)
    assert found["lot"].low < 0 < found["lot"].high
    assert found["lot"].p > 0.05
    # Both the interval and the p-value are about those of a paired t-test.
    each = values["lot"] - values["best"]
    test = stats.ttest_1samp(each, 0.0)
    low, high = test.confidence_interval()
    assert found["lot"].p == pytest.approx(test.pvalue, abs=0.06)
    assert (found["lot"].low, found["lot"].high) == pytest.approx((low, high), abs=0.006)


def test_alike_is_no_difference() -> None:
    values = np.random.default_rng(1).random(20)
    [found] = against_best({"one": values, "other": values.copy()}, resampled_rows(20, 99, seed=2)).values()
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_holm_by_hand() -> None:
    # 3 × 0.01, 2 × 0.02, and 0.03 may not be less than the one before.
    assert holm({"a": 0.03, "b": 0.01, "c": 0.02}) == pytest.approx({"b": 0.03, "c": 0.04, "a": 0.04})
    assert holm({"a": 0.6, "b": 0.9}) == pytest.approx({"a": 1.0, "b": 1.0})
