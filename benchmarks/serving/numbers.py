"""Times as they are reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def percentiles_ms(seconds: npt.ArrayLike) -> dict[str, float]:
    """p50, p95, p99 and the largest in ms, and how many there were."""
    ms = np.asarray(seconds) * 1e3
    if not len(ms):
        return {"count": 0}
    named = {f"p{q}_ms": float(np.percentile(ms, q)) for q in (50, 95, 99)} | {"max_ms": float(ms.max())}
    return {**{name: round(value, 3) for name, value in named.items()}, "count": len(ms)}


def figure(value: Any, unit: str, target: Any, met: bool, **detail: Any) -> dict[str, Any]:
    """One figure of a report."""
    return {"value": value, "unit": unit, "target": target, "met": bool(met), "detail": detail}
