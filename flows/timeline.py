"""Where time is cut: what models learn from, what they are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.settings import Settings


@dataclass(frozen=True)
class Timeline:
    """Moments of one training run, UTC.

    Attributes:
        newest: the newest event known.
        cut: models learn from what is earlier, and are judged on the rest.
        end: the end of the holdout, not included.
        training_cuts: earlier cuts, oldest first; the ranker learns to predict from each to the next.
        step: their distance, and that of the last to the cut.
    """

    newest: datetime
    cut: datetime
    end: datetime
    training_cuts: tuple[datetime, ...]
    step: timedelta

    @property
    def moments(self) -> tuple[datetime, ...]:
        """Every moment for which features are needed."""
        return (*(just_before(cut) for cut in (*self.training_cuts, self.cut)), self.newest)


def just_before(cut: datetime) -> datetime:
    """The last moment that a model may know of at a cut: what happens at the cut itself is to be predicted."""
    return cut - timedelta(microseconds=1)


def timeline(first: datetime, newest: datetime, settings: Settings) -> Timeline:
    """Cut the span of the data as the settings say; a short history is cut in proportion.

    The holdout is at most a fifth of the span. Cuts of two days and more stand at midnight UTC.
    """
    span = newest - first
    holdout = min(timedelta(days=settings.holdout_days), span / 5)
    cut = newest - holdout
    end = newest + timedelta(microseconds=1)
    if holdout >= timedelta(days=2):
        cut = cut.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        end = cut + holdout
    step = min(timedelta(days=settings.snapshot_days), (cut - first) / (settings.training_cuts + 1))
    cuts = tuple(cut - step * i for i in range(settings.training_cuts, 0, -1))
    return Timeline(newest=newest, cut=cut, end=end, training_cuts=cuts if step > timedelta(0) else (), step=step)
