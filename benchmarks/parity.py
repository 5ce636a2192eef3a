"""Parity replay of real events: every feature's online values against their point-in-time values.

Needs a lake: run `kairos demo`, or `kairos ingest --connector complete-journey`, first.
"""

from __future__ import annotations

from typing import Any

from feature_repo.features import discover
from feature_repo.parity.replay import replay
from flows.parity import parity_figure
from flows.quiet import quiet_exit
from infra.settings import settings

EVENTS = 20_000
OUT_OF_ORDER_EVENTS = 500


def parity() -> dict[str, Any]:
    """The figure: values that differ, of the newest events in time, and of fewer that come late and twice."""
    in_time = replay(settings(), EVENTS)
    figure = parity_figure(in_time)
    disordered = parity_figure(replay(settings(), OUT_OF_ORDER_EVENTS, out_of_order=True))
    figure["value"] += disordered["value"]
    every = {f"{feature.name}:{field}" for feature in discover().values() for field in feature.fields}
    not_compared = sorted(every - set(in_time.values))
    figure["met"] = figure["met"] and disordered["met"] and in_time.events >= EVENTS and not not_compared
    figure["detail"]["not compared"] = not_compared
    figure["detail"]["out of order"] = disordered["detail"]
    return figure


if __name__ == "__main__":
    quiet_exit()
    print(parity())
