"""The rules that data must follow, as Great Expectations suites: the one place where a rule is written.

Row rules look at a chunk in the contract's types with its marks (`flows.validation.typed`); batch rules at one row that
sums a batch up. `meta["rule"]` is the name under which people find a broken rule again, `meta["expected"]` says it in
words.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations import ExpectationSuite
from great_expectations.expectations import Expectation

from feature_repo import schema as s
from flows.connectors.base import BEHAVIOUR
from flows.validation.typed import ISO, MILLISECONDS, NUMBERS, SECONDS, TIME_FORM, UNREADABLE, readable

"""How far ahead of ours a sender's clock may run."""
LARGEST: Final = 1.7976931348623157e308
"""The largest finite number: infinity breaks a rule, it is no price."""

IS_COPY: Final = "is_copy"
USER_KNOWN: Final = "user_known"
ITEM_KNOWN: Final = "item_known"

COLUMNS_PRESENT: Final = "columns_present"
NOT_EMPTY: Final = "not_empty"
REJECTED_SHARE: Final = "rejected_share"
NEWEST_EVENT_AGE: Final = "newest_event_age"

ROWS: Final = "rows"
AGE_DAYS: Final = "newest_event_age_days"

_TYPES_EXPECTED = (
    f"event_type one of {', '.join(s.EVENT_TYPES)}, or a column {BEHAVIOUR!r} with {', '.join(s.BEHAVIOURS)}"
)
_IDS = (s.EVENT_ID, s.USER_ID, s.ITEM_ID)


def event_suite(columns: Collection[str], now: datetime) -> ExpectationSuite:
    """Row rules of events.

    Args:
        columns: those of the frame that will be validated; a rule about a column that isn't there is left out.
        now: UTC; later events are from the future.
    """
    time_given = TIME_FORM if TIME_FORM in columns else s.TIMESTAMP
    rules = [_required(name, name) for name in (*_IDS, s.EVENT_TYPE)]
    rules += [_required(s.TIMESTAMP, time_given)]
    rules += [_length(name) for name in (*_IDS, s.SESSION_ID, s.REQUEST_ID)]
    rules += [_in_set("event_type_allowed", s.EVENT_TYPE, s.EVENT_TYPES, _TYPES_EXPECTED)]
    rules += [*_time_rules(), _not_future(now), _from_1970(), *_number_rules()]
    rules += [_in_set("context_readable", readable(s.CONTEXT), [True], "context a JSON object")]
    rules += [_in_set(USER_KNOWN, USER_KNOWN, [True], "user_id in the users table", severity="warning")]
    rules += [_in_set(ITEM_KNOWN, ITEM_KNOWN, [True], "item_id in the items table", severity="warning")]
    return _suite("events", rules, columns)


def unique_suite() -> ExpectationSuite:
    """The rule that looks at a row beside the valid rows before it, and so comes after the other row rules."""
    rule = _in_set("event_id_unique", IS_COPY, [False], "event_id (given or derived) once in the batch")
    return ExpectationSuite(name="event-ids", expectations=[rule])


def table_suite(name: str, id_column: str, columns: Collection[str]) -> ExpectationSuite:
    """Row rules of an items or users table."""
    rules = [_required(id_column, id_column), _length(id_column), *_time_rules(), *_number_rules()]
    rules += [_in_set("attributes_readable", readable(s.ATTRIBUTES), [True], "attributes a JSON object")]
    return _suite(name, rules, columns)


def columns_suite() -> ExpectationSuite:
    """Which columns events need before any row rule can look at them."""
    needed = [s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, s.TIMESTAMP]
    rule = gxe.ExpectTableColumnsToMatchSet(
        column_set=needed, exact_match=False, meta=_meta(COLUMNS_PRESENT, "the columns that every event needs")
    )
    return ExpectationSuite(name="columns", expectations=[rule])


def batch_suite(
    name: str, max_rejected_share: float, max_age_days: float | None, min_rows: int = 1
) -> ExpectationSuite:
    """Batch rules, over one row with `rows`, `rejected_share` and `newest_event_age_days`."""
    rules = [
        _between(NOT_EMPTY, ROWS, min_rows, None, "rows"),
        _between(
            REJECTED_SHARE, REJECTED_SHARE, None, max_rejected_share, f"at most {max_rejected_share:.1%} rejected"
        ),
    ]
    if max_age_days is not None:
        rules.append(_between(NEWEST_EVENT_AGE, AGE_DAYS, None, max_age_days, f"at most {max_age_days} days old"))
    return ExpectationSuite(name=name, expectations=rules)


def _suite(name: str, rules: list[Expectation], columns: Collection[str]) -> ExpectationSuite:
    return ExpectationSuite(name=name, expectations=[rule for rule in rules if rule.column in columns])


def _time_rules() -> list[Expectation]:
    known, not_finer = [ISO, SECONDS, MILLISECONDS], [ISO, SECONDS, UNREADABLE]
    return [
        _in_set("timestamp_readable", TIME_FORM, known, "timestamp in epoch seconds or ISO 8601"),
        _in_set("timestamp_in_seconds", TIME_FORM, not_finer, "epoch seconds, not milliseconds: divide by 1,000"),
    ]


def _number_rules() -> list[Expectation]:
    rules = [_in_set(readable(name), readable(name), [True], f"{name} a finite number") for name in NUMBERS]
    amounts = (s.PRICE, s.QUANTITY, s.POSITION)
    rules += [_between(f"{name}_not_negative", name, 0, LARGEST, f"{name} 0 or more") for name in amounts]
    return [*rules, _between("value_finite", s.VALUE, -LARGEST, LARGEST, "value a finite number")]


def _not_future(now: datetime) -> Expectation:
    latest = now + s.CLOCK_SKEW
    expected = f"timestamp at most {latest:%Y-%m-%d %H:%M:%S} UTC"
    return _between("timestamp_not_future", s.TIMESTAMP, None, pd.Timestamp(latest).as_unit("us"), expected)


def _from_1970() -> Expectation:
    # What comes before is a broken clock or a zero, and the libraries behind know no year 1.
    first = pd.Timestamp(s.BEGINNING).as_unit("us")
    return _between("timestamp_from_1970", s.TIMESTAMP, first, None, "timestamp of 1970 or later")


def _required(name: str, column: str) -> Expectation:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, meta=_meta(f"{name}_required", f"{name} not empty"))


def _length(column: str) -> Expectation:
    return gxe.ExpectColumnValueLengthsToBeBetween(
        column=column,
        max_value=s.MAX_ID_LENGTH,
        meta=_meta(f"{column}_length", f"{column} of at most {s.MAX_ID_LENGTH} characters"),
    )


def _in_set(rule: str, column: str, values: Collection[Any], expected: str, severity: str = "critical") -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=list(values), severity=severity, meta=_meta(rule, expected)
    )


def _between(rule: str, column: str, low: Any, high: Any, expected: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, meta=_meta(rule, expected))


def _meta(rule: str, expected: str) -> dict[str, str]:
    return {"rule": rule, "expected": expected}
