"""How long a run of a flow may take. One that hangs is ended then, and whoever waits for its turn gets it."""

from __future__ import annotations

from typing import Final

_HOUR_S: Final = 3600.0
TIME_LIMITS_S: Final = {
    "ingest": 12 * _HOUR_S,
    "replay": 12 * _HOUR_S,
    "features": 6 * _HOUR_S,
    "refresh": _HOUR_S / 6,
    "train": 12 * _HOUR_S,
    "publish": 12 * _HOUR_S,
    "catch-up": 12 * _HOUR_S,
    "approve": 12 * _HOUR_S,
    "evaluate": 2 * _HOUR_S,
    "compact": 2 * _HOUR_S,
    "monitor": _HOUR_S,
    "backup": 6 * _HOUR_S,
    "prune": _HOUR_S,
}
"""Flow -> seconds. The pipeline has the limits of its parts, and a task that of its flow.

Prefect moves the outer one of two limits within each other, and a task's does not end a call that waits.
"""
