"""Runs suites on frames and shows what they found: the only code that drives Great Expectations."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations import ExpectationSuite
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.expectations.metadata_types import FailureSeverity

from flows.errors import ValidationRunError

SITE = "local_site"
PAGES_IN_INDEX = 100
"""How many validations the index page lists; it reads each of them whenever it is built."""
EXAMPLES = 20
"""Unexpected values that a page shows per rule."""

_COUNTS = ("element_count", "unexpected_count", "missing_count")


@dataclass(frozen=True)
class Finding:
    """One rule over one frame.

    Args:
        rule: its name.
        success: whether every row follows it.
        warning: whether breaking it is only worth telling.
        expected: what it wants, in words.
        rows: positions in the frame of the rows that break it, int64.
        observed: what was measured, of a rule about a whole column.
    """

    rule: str
    success: bool
    warning: bool
    expected: str
    rows: np.ndarray
    observed: Any = None


class Checks:
    """One run's validations, in a file context under `home`.

    Frames of the same suite are one validation: their results are added up, and a page shows the sum.
    """

    def __init__(self, home: Path) -> None:
        # Great Expectations tells of each context and store that it opens.
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        home.mkdir(parents=True, exist_ok=True)
        self._context = gx.get_context(mode="file", project_root_dir=home)
        self._context.variables.progress_bars = {"globally": False}
        self._limit_index()
        source = self._context.data_sources.add_or_update_pandas("ingest")
        self._batches = source.add_dataframe_asset("batch").add_batch_definition_whole_dataframe("whole")
        self._sums: dict[str, tuple[ExpectationSuite, dict[str, ExpectationValidationResult], dict[str, Any]]] = {}

    def run(self, frame: pd.DataFrame, suite: ExpectationSuite) -> list[Finding]:
        """Validate a frame; positions come from the expectations' own lists of unexpected indices.

        Raises:
            ValidationRunError: an expectation could not be evaluated.
        """
        frame = frame.reset_index(drop=True)
        result = self._batches.get_batch({"dataframe": frame}).validate(suite, result_format="COMPLETE")
        findings = [_finding(one) for one in result.results]
        self._add(suite, result)
        return findings

    def publish(self, batch_id: str, now: datetime) -> Path:
        """Write the validations so far as pages of the Data Docs, under the batch's id.

        Returns:
            The index page, which lists the validations, the newest first.
        """
        run = RunIdentifier(run_name=batch_id, run_time=now)
        keys = []
        for suite, results, meta in self._sums.values():
            self._context.suites.add_or_update(suite)
            name = ExpectationSuiteIdentifier(name=suite.name)
            key = ValidationResultIdentifier(expectation_suite_identifier=name, run_id=run, batch_identifier=batch_id)
            self._context.validation_results_store.store_validation_results(
                suite_validation_result=_summed(
                    suite, list(results.values()), {**meta, "run_id": run, "validation_time": now}
                ),
                suite_validation_result_identifier=key,
                expectation_suite_identifier=name,
            )
            keys += [name, key]
        index = self._context.build_data_docs(site_names=[SITE], resource_identifiers=keys)[SITE]
        return Path(unquote(urlparse(index).path))

    def _add(self, suite: ExpectationSuite, result: ExpectationSuiteValidationResult) -> None:
        whole, sums, _ = self._sums.setdefault(suite.name, (suite, {}, dict(result.meta)))
        for expectation in suite.expectations:
            if whole is not suite and expectation.meta["rule"] not in sums:
                whole.expectations.append(expectation)  # its own way to add one writes a file each time
        for one in result.results:
            rule = one.expectation_config.meta["rule"]
            if rule in sums:  # a chunk may lack a column that another has
                _accumulate(sums[rule], one)
            else:
                sums[rule] = _shortened(one)

    def _limit_index(self) -> None:
        site = self._context.get_site_names() and self._context.variables.data_docs_sites[SITE]
        builder = site["site_index_builder"]
        if builder.get("validation_results_limit") != PAGES_IN_INDEX:
            builder = {**builder, "validation_results_limit": PAGES_IN_INDEX}
            self._context.update_data_docs_site(
                SITE, {**site, "show_how_to_buttons": False, "site_index_builder": builder}
            )


def _finding(one: ExpectationValidationResult) -> Finding:
    config = one.expectation_config
    rule = config.meta["rule"]
    if one.exception_info and "raised_exception" not in one.exception_info:
        trouble = next(iter(one.exception_info.values()))
    else:
        trouble = one.exception_info or {}
    if trouble.get("raised_exception"):
        raise ValidationRunError(f"rule {rule}: {config.type} failed to run: {trouble.get('exception_message')}")
    rows = np.asarray(one.result.get("unexpected_index_list") or [], dtype=np.int64)
    return Finding(
        rule,
        bool(one.success),
        FailureSeverity(config.severity) is FailureSeverity.WARNING,
        config.meta["expected"],
        rows,
        one.result.get("observed_value"),
    )


def _shortened(one: ExpectationValidationResult) -> ExpectationValidationResult:
    """Without the lists that grow with the data: a page shows counts and a few examples."""
    kept = {name: one.result[name] for name in _COUNTS if name in one.result}
    if "partial_unexpected_list" in one.result:
        kept["partial_unexpected_list"] = list(one.result["partial_unexpected_list"])[:EXAMPLES]
    for name in ("observed_value", "details"):
        if name in one.result:
            kept[name] = one.result[name]
    one.result = kept | _percentages(kept)
    return one


def _accumulate(total: ExpectationValidationResult, one: ExpectationValidationResult) -> None:
    total.success = bool(total.success and one.success)
    for name in _COUNTS:
        if name in one.result or name in total.result:
            total.result[name] = total.result.get(name, 0) + one.result.get(name, 0)
    examples = total.result.get("partial_unexpected_list", [])
    total.result["partial_unexpected_list"] = [*examples, *one.result.get("partial_unexpected_list", [])][:EXAMPLES]
    total.result.update(_percentages(total.result))


def _percentages(counts: dict[str, Any]) -> dict[str, float]:
    if not counts.get("element_count") or "unexpected_count" not in counts:
        return {}
    total, missing = counts["element_count"], counts.get("missing_count", 0)
    present = max(total - missing, 1)
    return {
        "unexpected_percent": 100 * counts["unexpected_count"] / present,
        "unexpected_percent_total": 100 * counts["unexpected_count"] / total,
        "unexpected_percent_nonmissing": 100 * counts["unexpected_count"] / present,
        "missing_percent": 100 * missing / total,
    }


def _summed(
    suite: ExpectationSuite, results: list[ExpectationValidationResult], meta: dict[str, Any]
) -> ExpectationSuiteValidationResult:
    good = sum(bool(one.success) for one in results)
    return ExpectationSuiteValidationResult(
        success=good == len(results),
        results=results,
        suite_name=suite.name,
        suite_parameters={},
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": 100 * good / len(results),
        },
        meta=meta,
    )
