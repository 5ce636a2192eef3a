"""Where time is cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.timeline import timeline
from infra.settings import Settings

CONFIG = Settings(home=Path("unused"))


def test_complete_journey_holds_out_december() -> None:
    cuts = timeline(datetime(2017, 1, 1, 11, tzinfo=UTC), datetime(2018, 1, 1, 4, 1, 20, tzinfo=UTC), CONFIG)
    assert cuts.cut == datetime(2017, 12, 1, tzinfo=UTC)
    assert cuts.end == datetime(2018, 1, 1, tzinfo=UTC)
    assert len(cuts.training_cuts) == CONFIG.training_cuts
    assert cuts.training_cuts[-1] == datetime(2017, 11, 1, tzinfo=UTC)
    assert list(cuts.moments) == sorted(cuts.moments)


def test_a_short_history_is_cut_in_proportion() -> None:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    cuts = timeline(first, first + timedelta(hours=10), CONFIG)
    assert cuts.cut == first + timedelta(hours=8)
    assert cuts.end > first + timedelta(hours=10)
    assert all(first < cut < cuts.cut for cut in cuts.training_cuts)


def test_a_single_moment_has_no_training_cuts() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    assert timeline(moment, moment, CONFIG).training_cuts == ()
