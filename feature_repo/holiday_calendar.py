"""How far a day is from the public holidays around it; from the `holidays` package, for the country of the settings."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime
from functools import lru_cache

import holidays

FARTHEST_DAYS = 60
"""A holiday farther away says nothing."""


@lru_cache(maxsize=1_000)
def holiday_distances(country: str, day: date) -> tuple[int, int]:
    """Days since the last holiday and days to the next, both 0 on a holiday and at most `FARTHEST_DAYS`; days are UTC.

    Args:
        country: ISO 3166 code, as `holidays` knows them, with a part of the country after a hyphen: `US`, `DE-BY`.
    """
    ordinals = _ordinals(country, day.year)
    today = day.toordinal()
    since = ordinals[: bisect_right(ordinals, today)]
    ahead = ordinals[bisect_left(ordinals, today) :]
    return (
        min(today - since[-1], FARTHEST_DAYS) if since else FARTHEST_DAYS,
        min(ahead[0] - today, FARTHEST_DAYS) if ahead else FARTHEST_DAYS,
    )


def utc_day(at: float) -> date:
    """The day of an epoch second."""
    return datetime.fromtimestamp(at, UTC).date()


@lru_cache(maxsize=100)
def _ordinals(country: str, year: int) -> list[int]:
    nation, _, part = country.partition("-")
    years = range(year - 1, year + 2)
    try:
        return sorted(day.toordinal() for day in holidays.country_holidays(nation, subdiv=part or None, years=years))
    except NotImplementedError:
        return []  # the settings refuse unknown countries; Feast tries `request_time` out with made-up ones
