"""The counts of what arrived beside those of the stretches before it: which measures are where they should not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

import numpy as np
from scipy.stats import median_abs_deviation

from feature_repo import schema as s
from flows.monitoring.distance import distance, to_the_others
from flows.monitoring.measured import Measured, above, within
from flows.monitoring.stretches import MAY_BE_NULL, Stretches
from infra.thresholds import DataLimits

LITTLE: Final = 20.0
"""Events that are added to what is counted before it is compared in times: from none to a few is no change."""

SPREADS: Final = 3.0
"""Robust standard deviations that a share of new users or items may be above the middle of those before"""

Row = Mapping[str, float]
"""What was counted of one stretch"""


def comparable(found: Stretches, limits: DataLimits) -> list[int]:
    """The stretches of before that have enough events for shares, newest first."""
    return [n for n, row in sorted(found.counts.items()) if n > 0 and row["events"] >= limits.least_events]


def whole(found: Stretches, limits: DataLimits) -> list[Row]:
    """The stretches of before by whose number of events others are judged: the quiet ones too, but not what is left of
    one whose events were set aside."""
    before = [row for stretch, row in found.counts.items() if stretch > 0]
    return [row for row in before if row["events"] >= limits.least_events or row["events"] > row["aside"]]


def compare(found: Stretches, limits: DataLimits) -> list[Measured]:
    """Every measure of what arrived, beside what is `comparable`; of a few events only that they are a few.

    Their number is held to what is `whole`: who has fewer on Sundays has them on every Sunday.
    """
    before = comparable(found, limits)
    ours, theirs = found.counts[0], [found.counts[stretch] for stretch in before]
    volume = _a_day(found.days, ours, whole(found, limits), limits)
    if ours["events"] < limits.least_events:
        return [volume]
    shares = [*_parts(ours, theirs, limits), *_distributions(found, before, limits)]
    # No share is above 1: what is null everywhere cannot become more so.
    bounded = [measured for measured in shares if measured.high is not None and measured.high < 1.0]
    return [volume, *_amounts(ours, theirs, limits), *_types(found, before, limits), *bounded]


def _a_day(days: float, ours: Row, theirs: Sequence[Row], limits: DataLimits) -> Measured:
    on_time = (ours["events"] - ours["late"]) / days
    return within("events a day", on_time, [row["events"] / days for row in theirs], limits.volume)


def _amounts(ours: Row, theirs: Sequence[Row], limits: DataLimits) -> Iterator[Measured]:
    """How much there is of one user or item, in times."""
    each, before = ours["events"] / ours["users"], [row["events"] / row["users"] for row in theirs]
    yield within("events per user", each, before, limits.events_per_user)
    for who in ("user", "item"):
        busiest = [(row[f"busiest_{who}"] + LITTLE) / row["events"] for row in (ours, *theirs)]
        yield Measured(f"share of the busiest {who}", busiest[0], high=max(busiest[1:]) * limits.busiest)


def _types(found: Stretches, before: Sequence[int], limits: DataLimits) -> Iterator[Measured]:
    """In times: a rare type that is gone would hardly be a distance."""
    bins = found.bins[s.EVENT_TYPE]
    for at, kind in enumerate(bins.names):
        shares = [(bins.counts[n][at] + LITTLE) / found.counts[n]["events"] for n in (0, *before)]
        yield within(f"share of events: {kind}", shares[0], shares[1:], limits.event_type)


def _parts(ours: Row, theirs: Sequence[Row], limits: DataLimits) -> Iterator[Measured]:
    """Which part of the events has something, or of the days."""
    yield above("days without events", ours["empty_days"], [row["empty_days"] for row in theirs], limits.empty_days)
    yield Measured("older than what was known", ours["late"] / ours["events"], high=limits.late)
    more = {"copies": ("equal rows with other ids", limits.duplicates)}
    more |= {f"null:{column}": (f"nulls: {column}", limits.nulls) for column in MAY_BE_NULL}
    for counted, (name, limit) in more.items():
        share, *before = (row[counted] / row["events"] for row in (ours, *theirs))
        yield above(name, share, before, limit)
    for who, limit in (("users", limits.new_users), ("items", limits.new_items)):
        share, *before = (row[f"new_{who}"] / row["events"] for row in (ours, *theirs))
        # Robust, because all are new in the first stretch.
        spread = float(median_abs_deviation(before, scale="normal"))
        yield Measured(f"of new {who}", share, high=median(before) + SPREADS * spread + limit)


def _distributions(found: Stretches, before: Sequence[int], limits: DataLimits) -> Iterator[Measured]:
    """How far values are from those of before, beside how far those are from each other."""
    for name, bins in found.bins.items():
        if name != s.EVENT_TYPE:
            past = np.stack([bins.counts[stretch] for stretch in before])
            value = distance(bins.counts[0], past.sum(axis=0))
            yield above(f"distance: {name}", value, to_the_others(past), limits.distance)
    if s.CATEGORY in found.bins:
        counts = found.bins[s.CATEGORY].counts
        share, *others = (1.0 - counts[n].sum() / found.counts[n]["events"] for n in (0, *before))
        yield above("without a category", share, others, limits.nulls)
