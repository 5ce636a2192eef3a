"""A feature's `expects` as Great Expectations suites."""

from __future__ import annotations

from collections.abc import Sequence

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations import ExpectationSuite
from great_expectations.expectations import Expectation

from feature_repo.feature import Expect
from flows.quality.accepted import Accepted
from flows.quality.spread import Spread

DRIFT_LEAST_VALUES = 1_000
"""Below as many values, here or in the accepted run, chance alone moves a distribution: drift is not looked at."""


def bins_of(column: str) -> str:
    """Name of the frame's column with the bin that each value lies in."""
    return f"{column} (bins)"


def column_rules(
    column: str, expect: Expect, values: pd.Series, before: tuple[Accepted, Spread] | None
) -> list[Expectation]:
    """What one column is held to.

    Args:
        values: the column's; a range says nothing of nulls, and of no values at all nothing is said.
        before: the accepted run to compare with, and the column's spread then; None: no drift is looked at.
    """
    rules: list[Expectation] = []
    has_values = bool(values.notna().any())
    if len(values) and expect.null_share < 1:
        rules.append(
            gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(
                column=column,
                min_value=1 - expect.null_share,
                meta=_meta(column, "share of values that are not null", f"at least {1 - expect.null_share:g}"),
            )
        )
    if expect.at_least is not None and has_values:
        rules.append(
            gxe.ExpectColumnMinToBeBetween(
                column=column,
                min_value=expect.at_least,
                meta=_meta(column, "smallest value", f"at least {expect.at_least:g}"),
            )
        )
    if expect.at_most is not None and has_values:
        rules.append(
            gxe.ExpectColumnMaxToBeBetween(
                column=column,
                max_value=expect.at_most,
                meta=_meta(column, "largest value", f"at most {expect.at_most:g}"),
            )
        )
    if before is not None and expect.drift is not None:
        accepted, spread = before
        rules.append(
            gxe.ExpectColumnKLDivergenceToBeLessThan(
                column=bins_of(column),
                partition_object=spread.partition,
                threshold=expect.drift,
                meta=_meta(column, DRIFT, f"at most {expect.drift:g} since run {accepted.run or '(none)'}"),
            )
        )
    return rules


def rows_rule() -> Expectation:
    """For a feature that had rows in the accepted run: an expression that loses all of them breaks no other rule."""
    meta = {"rule": "number of rows", "expected": "at least 1, as in the accepted run"}
    return gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=meta)


DRIFT = "drift (Kullback-Leibler divergence, nats)"


def suite_of(feature: str, rules: Sequence[Expectation]) -> ExpectationSuite:
    return ExpectationSuite(name=f"features-{feature}", expectations=list(rules))


def _meta(column: str, measure: str, expected: str) -> dict[str, str]:
    return {"rule": f"column {column}: {measure}", "expected": expected}
