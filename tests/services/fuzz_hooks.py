"""For schemathesis: what the schema cannot say. An event's moment must lie between 1970 and now."""

from __future__ import annotations

from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format(
    "date-time",
    st.datetimes(datetime(1970, 1, 2), datetime(2024, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat),  # noqa: DTZ001
)
