"""Timestamps as whole numbers since 1970 in UTC: exact, and quick to sort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

Unit = Literal["us", "ns"]

EPOCH: Final = datetime.fromtimestamp(0, UTC)
MICROSECOND: Final = timedelta(microseconds=1)
NS_LIMIT: Final = 2**63 // 1_000 - 1


def is_time(sql_type: str) -> bool:
    return sql_type.startswith("TIMESTAMP")


def unit_of(*sql_types: str) -> Unit:
    """The coarsest unit that holds all of them without loss."""
    return "ns" if any(kind.endswith("_NS") for kind in sql_types) else "us"


def epoch(column: str, sql_type: str, unit: Unit) -> str:
    """SQL of a time column as a number; times without a zone, dates and strings without an offset are UTC."""
    as_it_is = is_time(sql_type) and unit == unit_of(sql_type)
    return f"epoch_{unit}({column if as_it_is else f'CAST({column} AS TIMESTAMPTZ)'})"


def length(duration: timedelta, unit: Unit) -> int:
    return duration // MICROSECOND * (1_000 if unit == "ns" else 1)


def since_epoch(moment: datetime) -> int:
    """Microseconds; as in Feast, a moment without a zone is local time."""
    return (moment.astimezone(UTC) - EPOCH) // MICROSECOND


def at_least(column: str, sql_type: str, microseconds: int) -> str:
    """SQL that a time column is not before a moment."""
    return f"{_comparable(column, sql_type)} >= {_constant(microseconds, sql_type)}"


def at_most(column: str, sql_type: str, microseconds: int) -> str:
    """SQL that a time column is not after a moment."""
    return f"{_comparable(column, sql_type)} <= {_constant(microseconds, sql_type)}"


def _holds_microseconds(sql_type: str) -> bool:
    return is_time(sql_type) and not sql_type.endswith(("_MS", "_S"))


def _comparable(column: str, sql_type: str) -> str:
    # Compared as stored where that is exact: DuckDB then skips row groups by their statistics.
    return column if _holds_microseconds(sql_type) else f"CAST({column} AS TIMESTAMPTZ)"


def _constant(microseconds: int, sql_type: str) -> str:
    if sql_type.endswith("_NS"):  # holds the years 1678 to 2261: no value lies outside
        microseconds = max(-NS_LIMIT, min(NS_LIMIT, microseconds))
    return f"CAST(make_timestamptz({microseconds}) AS {sql_type if _holds_microseconds(sql_type) else 'TIMESTAMPTZ'})"
