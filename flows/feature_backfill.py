"""Features at the moments of a range in the past, in one go: `kairos features backfill`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from feature_repo import snapshots
from feature_repo.errors import BackfillRangeError, UnknownFeatureError
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.snapshots import TABLES
from feature_repo.store import Features
from flows.feature_plan import apply
from flows.features import refuse_breaking
from infra.settings import Settings

A_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class BackfillReport:
    """What a backfill did.

    Args:
        rows: feature -> rows of the snapshots that were missing.
    """

    features: list[str]
    moments: list[datetime]
    written: int
    already: int
    rows: dict[str, int]


def backfill(
    config: Settings,
    names: Sequence[str] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    every: timedelta = timedelta(days=7),
    run: str = "",
    progress: snapshots.Progress = lambda done, total, feature, moment: None,
) -> BackfillReport:
    """Snapshots of features at every moment of a range; then whatever else the definitions miss is computed, and all
    are registered.

    A backfill that was killed goes on where it stopped. Its moments are kept from now on, and computed again when the
    feature's code or the data before them change.

    Args:
        names: features; empty: all that models learn from.
        since: first moment, UTC; None: the Monday a year before `until`, at 00:00.
        until: no moment is later; None: the newest event.
        every: distance of the moments.
        run: name of this run, for lineage.

    Raises:
        UnknownFeatureError: there is no such feature, or it is not kept for the past.
        BackfillRangeError: no moment of the range is among the events.
        LiveFeatureError: a model in service would lose a feature; nothing was written.
        DiskFullError: no room; what was written is whole, the registry as it was.
    """
    features = chosen(names)
    refuse_breaking(config)
    summary = Lake(config.lake).summary()
    first, newest = summary["first"], summary["newest"]
    assert isinstance(first, datetime)
    assert isinstance(newest, datetime)
    moments = moments_of(first, newest, since, until, every)
    written = 0

    def count(done: int, total: int, feature: str, moment: datetime | None) -> None:
        nonlocal written
        written = done
        progress(done, total, feature, moment)

    rows = Features.open(config).compute(moments, run=run, only=features, backfill=True, progress=count)
    backfilled = written
    apply(config, run, progress)
    asked = sum(1 if discover()[name].reads in TABLES else len(moments) for name in features)
    return BackfillReport(features, moments, backfilled, max(asked - backfilled, 0), rows)


def chosen(names: Sequence[str]) -> list[str]:
    """The features to backfill.

    Raises:
        UnknownFeatureError: one is not there, or not kept for the past.
    """
    known = discover()
    learned = [name for name, feature in known.items() if feature.trained_on]
    for name in names:
        if name not in known:
            raise UnknownFeatureError(f"no feature {name!r}; expected one of {', '.join(learned)}")
        if name not in learned:
            raise UnknownFeatureError(
                f"feature {name!r} has trained_on=False: only its newest moment is kept; expected one of "
                f"{', '.join(learned)}"
            )
    return list(names) or learned


def moments_of(
    first: datetime, newest: datetime, since: datetime | None, until: datetime | None, every: timedelta
) -> list[datetime]:
    """The moments of the range that have events before them.

    Args:
        first: time of the first event.
        newest: time of the newest.

    Raises:
        BackfillRangeError: there are none.
    """
    end = min(until or newest, newest)
    start = since or _monday(end - A_YEAR)
    steps = max((end - start) // every, -1)
    moments = [moment for moment in (start + every * step for step in range(steps + 1)) if moment >= first]
    if not moments:
        raise BackfillRangeError(
            f"no moment to compute from {start:%Y-%m-%d %H:%M} to {until or newest:%Y-%m-%d %H:%M} UTC every "
            f"{every / timedelta(days=1):g} days: the events are from {first:%Y-%m-%d %H:%M} to "
            f"{newest:%Y-%m-%d %H:%M} UTC; name a range within them with --since and --until"
        )
    return moments


def _monday(moment: datetime) -> datetime:
    """The week's beginning: the same moments whatever day the backfill is run on."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())
