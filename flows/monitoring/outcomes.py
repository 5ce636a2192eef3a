"""What followed what was shown: click and purchase rates of logged impressions, by variant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import duckdb
from scipy.stats import binomtest

from feature_repo import schema as s
from feature_repo.lake import Lake
from flows.monitoring.measured import Look, Measured
from infra.settings import Settings
from infra.thresholds import OutcomeLimits, thresholds

UNNAMED: Final = "unnamed"
"""The variant of impressions that came without one"""
OTHERS: Final = "others"
"""All variants beyond those that were shown most: their names are clients' texts, of which there may be any number"""
MOST_VARIANTS: Final = 20
_FOLLOWS: Final = {"click rate": (s.CLICK, s.VIEW), "purchase rate": (s.PURCHASE,)}
"""Rate -> the events that count: a shop tells of the opened page as a click or as a view"""


def look_at_outcomes(config: Settings, now: datetime, until: datetime) -> Look:
    """The newest days' rates beside those of the days before, by variant.

    Impressions that are younger than what may still follow them are not looked at.

    Args:
        now: UTC, by the wall clock.
        until: the end of the data: of a live shop now.
    """
    limits = thresholds(config).outcomes
    follows = timedelta(hours=limits.follows_hours)
    end = until - follows
    middle = end - timedelta(days=limits.days)
    start = middle - timedelta(days=limits.before_days)
    events = Lake(config.lake).events_sql
    ours, theirs = (rates(events, *span, follows) for span in ((middle, end), (start, middle)))
    about = f"impressions of {middle:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    if not ours:
        return Look("outcomes", now, f"no {about}")
    named = sorted(ours, key=lambda variant: ours[variant]["impressions"], reverse=True)[:MOST_VARIANTS]
    return Look("outcomes", now, about, tuple(compare(gathered(ours, named), gathered(theirs, named), limits)))


def gathered(rates: Mapping[str, Mapping[str, int]], named: Collection[str]) -> dict[str, dict[str, int]]:
    """The rates of some variants by name, those of the rest added up as `OTHERS`."""
    found: dict[str, dict[str, int]] = {}
    for variant, row in rates.items():
        summed = found.setdefault(variant if variant in named else OTHERS, dict.fromkeys(row, 0))
        for name, count in row.items():
            summed[name] += count
    return found


def rates(events: str, start: datetime, end: datetime, follows: timedelta) -> dict[str, dict[str, int]]:
    """Impressions and what followed them.

    An event follows an impression of the same item to the same user, `follows` after it at most, if it names the same
    request or none. One item in one answer counts once, however often it was reported as seen.

    Args:
        events: SQL of the events, by the contract's columns.
        start: of the impressions, included.
        end: of the impressions, not included.

    Returns:
        Variant -> `impressions`, and each rate in impressions.
    """
    followed = ", ".join(
        f'coalesce(bool_or(e.{s.EVENT_TYPE} IN ({", ".join(map(repr, kinds))})), false)::INTEGER AS "{name}"'
        for name, kinds in _FOLLOWS.items()
    )
    query = f"""
        WITH every AS ({events}),
        shown AS (
            SELECT coalesce({s.REQUEST_ID}, {s.EVENT_ID}) AS answer, {s.USER_ID}, {s.ITEM_ID},
                any_value({s.REQUEST_ID}) AS {s.REQUEST_ID}, min({s.TIMESTAMP}) AS at,
                coalesce(any_value({s.VARIANT}), '{UNNAMED}') AS {s.VARIANT}
            FROM every WHERE {s.EVENT_TYPE} = '{s.IMPRESSION}' AND {s.TIMESTAMP} >= $start AND {s.TIMESTAMP} < $end
            GROUP BY 1, 2, 3
        ),
        judged AS (
            SELECT shown.answer, shown.{s.USER_ID}, shown.{s.ITEM_ID},
                any_value(shown.{s.VARIANT}) AS {s.VARIANT}, {followed}
            FROM shown LEFT JOIN every e ON e.{s.USER_ID} = shown.{s.USER_ID} AND e.{s.ITEM_ID} = shown.{s.ITEM_ID}
                AND e.{s.EVENT_TYPE} <> '{s.IMPRESSION}' AND e.{s.TIMESTAMP} >= shown.at
                AND e.{s.TIMESTAMP} BETWEEN $start AND $end + to_microseconds($follows) -- else the whole lake is joined
                AND e.{s.TIMESTAMP} <= shown.at + to_microseconds($follows)
                AND coalesce(e.{s.REQUEST_ID} = shown.{s.REQUEST_ID}, true)
            GROUP BY 1, 2, 3
        )
        SELECT {s.VARIANT}, count(*) AS impressions, {", ".join(f'sum("{name}") AS "{name}"' for name in _FOLLOWS)}
        FROM judged GROUP BY 1 ORDER BY 1
    """
    given = {"start": start, "end": end, "follows": follows // timedelta(microseconds=1)}
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.execute(query, given).fetchall()
    return {variant: dict(zip(("impressions", *_FOLLOWS), map(int, counts), strict=True)) for variant, *counts in rows}


def compare(
    ours: Mapping[str, Mapping[str, int]], theirs: Mapping[str, Mapping[str, int]], limits: OutcomeLimits
) -> list[Measured]:
    """Of each variant its rates, and whether they have surely fallen: the upper end of a 95 % interval (Wilson) is held
    to what is left of the rate before, where both have enough impressions.

    The interval takes impressions for independent, which those of one page are not: it is too narrow rather than too
    wide, and the fall that is asked for makes up for it.
    """
    found = []
    for variant, row in ours.items():
        shown = row["impressions"]
        found.append(Measured(f"impressions: {variant}", shown))
        before = theirs.get(variant) if variant != OTHERS else None  # of which there were others
        for name in _FOLLOWS:
            found.append(Measured(f"{name}: {variant}", row[name] / shown))
            if before is None or min(shown, before["impressions"]) < limits.least_impressions:
                continue
            upper = binomtest(row[name], shown).proportion_ci(method="wilson").high
            least = (1.0 - limits.fall) * before[name] / before["impressions"]
            found.append(Measured(f"{name}, upper end of 95 %: {variant}", float(upper), low=least))
    return found
