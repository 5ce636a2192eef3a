"""When an online value equals an offline one."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

RELATIVE: Final = 1e-9
"""Floats may differ by this share, as sums depend on the order of what is added up. All else is exact."""


def same(online: Any, offline: Any) -> bool:
    """Whether two values are the same: a number, a text, a list in its order, or nothing.

    Nothing is None or NaN, as Feast keeps neither; an empty list is something. In lists NaN stands for a missing
    number and equals NaN.
    """
    if isinstance(online, list) and isinstance(offline, list):
        return _same_lists(online, offline)
    if _is_nothing(online) or _is_nothing(offline):
        return _is_nothing(online) and _is_nothing(offline)
    if isinstance(online, float) and isinstance(offline, float):
        return math.isclose(online, offline, rel_tol=RELATIVE, abs_tol=0.0)
    return bool(online == offline)


def _same_lists(online: list[Any], offline: list[Any]) -> bool:
    if len(online) != len(offline):
        return False
    if all(isinstance(value, float) for value in (*online, *offline)):
        return bool(np.allclose(np.array(online), np.array(offline), rtol=RELATIVE, atol=0.0, equal_nan=True))
    return online == offline


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
