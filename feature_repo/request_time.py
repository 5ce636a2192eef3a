"""Features of the moment of asking, computed by Feast on demand: nothing of them is stored."""

from __future__ import annotations

from typing import Any

from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, String

REQUEST_AT = "request_at"
"""The moment of asking, epoch seconds UTC."""
HOLIDAYS_IN = "holidays_in"
"""Country whose holidays count."""
REQUEST = RequestSource(
    name="request", schema=[Field(name=REQUEST_AT, dtype=Float64), Field(name=HOLIDAYS_IN, dtype=String)]
)


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    sources=[REQUEST],
    schema=[
        Field(name=name, dtype=Float64)
        for name in ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "days_since_holiday", "days_to_holiday")
    ],
    mode="python",
    description="Where on the day's and on the week's circle the request is, and how near to a holiday",
)
def request_time(inputs: dict[str, Any]) -> dict[str, Any]:
    # Feast restores this body from its source text: imports and constants must stand inside.
    import math

    from feature_repo.holiday_calendar import holiday_distances, utc_day

    day, week = 86_400.0, 604_800.0
    monday = 345_600.0  # 1970-01-05, the first Monday
    hours = [2 * math.pi * (at % day) / day for at in inputs["request_at"]]
    weekdays = [2 * math.pi * ((at - monday) % week) / week for at in inputs["request_at"]]
    places = zip(inputs["holidays_in"], inputs["request_at"], strict=True)
    distances = [holiday_distances(country, utc_day(at)) for country, at in places]
    return {
        "days_since_holiday": [float(since) for since, _ in distances],
        "days_to_holiday": [float(to) for _, to in distances],
        "hour_sin": [math.sin(x) for x in hours],
        "hour_cos": [math.cos(x) for x in hours],
        "weekday_sin": [math.sin(x) for x in weekdays],
        "weekday_cos": [math.cos(x) for x in weekdays],
    }
