"""The features of one moment, held to their expectations before they go online."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
from feast.types import Array
from great_expectations.expectations import Expectation
from prefect import task
from prefect.artifacts import create_link_artifact

from feature_repo.feature import Feature
from feature_repo.features import discover
from feature_repo.snapshots import TABLES, newest, snapshot
from flows.alarms import alarm
from flows.errors import FeatureQualityError
from flows.quality.accepted import Accepted
from flows.quality.rules import DRIFT, DRIFT_LEAST_VALUES, bins_of, column_rules, rows_rule, suite_of
from flows.quality.spread import Spread
from flows.validation.checks import Checks, Finding
from infra.settings import Settings

MOST_VALUES = 2_000_000
"""Of a column with more, every n-th is looked at, always the same ones."""
NAMED = 5
"""Broken expectations that the error names; the Data Docs show all."""


@dataclass(frozen=True)
class QualityReport:
    """What was looked at.

    Args:
        checked: feature -> expectations evaluated.
        compared: features that were compared with an earlier run.
        data_docs: index page of the Data Docs; the run's pages are there under its name.
    """

    run: str
    checked: dict[str, int]
    compared: list[str]
    data_docs: Path


def check_features(
    settings: Settings, moment: datetime, run: str, *, now: datetime, features: Iterable[Feature] | None = None
) -> QualityReport:
    """Hold the snapshots as of `moment` to the features' expectations; if all hold, the run is the accepted one.

    Args:
        moment: of the snapshots that are to go online.
        run: name of the run, in the Data Docs and for the next run's comparison.
        now: UTC, the time of the run's entry in the Data Docs.
        features: by default all.

    Raises:
        FeatureQualityError: an expectation is broken; the online store is as it was, and so is the accepted run.
    """
    checks = Checks(settings.gx)
    looked_at: list[Accepted] = []
    checked: dict[str, int] = {}
    compared: list[str] = []
    broken: list[tuple[str, Finding]] = []
    for feature in _or_all(features):
        if not feature.expects:
            continue
        before = Accepted.of(settings.accepted_features, feature.name)
        findings: list[Finding] = []
        spreads: dict[str, Spread] = {}
        for frame in _frames(settings, feature, moment):
            rules: list[Expectation] = [rows_rule()] if before and before.had_rows else []
            for column, values in list(frame.items()):
                known = _comparable(before, str(column), values)
                rules += column_rules(str(column), feature.expects[str(column)], values, known)
                if known is not None:
                    frame[bins_of(str(column))] = known[1].labelled(values)
                if values.dtype.kind == "f":
                    spreads[str(column)] = Spread.of(values)
            if rules:
                findings += checks.run(frame, suite_of(feature.name, rules))
        looked_at.append(_accepted(feature, moment, run, spreads))
        checked[feature.name] = len(findings)
        if any(DRIFT in finding.rule for finding in findings):
            compared.append(feature.name)
        broken += [(feature.name, finding) for finding in findings if not finding.success]
    data_docs = checks.publish(run, now)
    if broken:
        drift_alone = all(DRIFT in finding.rule for _, finding in broken)
        raise FeatureQualityError(_told(broken, data_docs), drift_alone=drift_alone)
    for feature_now in looked_at:
        feature_now.save(settings.accepted_features)
    return QualityReport(run, checked, compared, data_docs)


def accept_drift(settings: Settings, run: str, *, features: Iterable[Feature] | None = None) -> list[str]:
    """Let the snapshots computed last be what later runs are compared with, however far they moved.

    Events that came since have no part in it: in a live shop there always are some.

    Args:
        features: by default all.

    Returns:
        The features.

    Raises:
        FeatureQualityError: a feature was never computed; nothing was accepted.
    """
    taken: list[Accepted] = []
    for feature in _or_all(features):
        if not feature.expects:
            continue
        moment = newest(settings.features, feature.name)
        if moment is None and feature.reads not in TABLES:
            raise FeatureQualityError(f"feature {feature.name} was never computed: run `kairos features`")
        columns = (column for frame in _frames(settings, feature, moment) for column in frame.items())
        spreads = {str(name): Spread.of(values) for name, values in columns if values.dtype.kind == "f"}
        taken.append(_accepted(feature, moment, run, spreads))
    for accepted in taken:
        accepted.save(settings.accepted_features)
    return [accepted.feature for accepted in taken]


@task(name="check-features")
def check_features_task(settings: Settings, moment: datetime, run: str) -> QualityReport:
    """`check_features`, with a link to the Data Docs as an artifact of the run."""
    try:
        report = check_features(settings, moment, run, now=datetime.now(UTC))
    except FeatureQualityError as error:
        # Drift starts a training; broken values must not.
        alarm("features-drifted" if error.drift_alone else "features-refused", str(error))
        raise
    create_link_artifact(report.data_docs.as_uri(), link_text="Data Docs", key="features-data-docs")
    return report


def _or_all(features: Iterable[Feature] | None) -> Iterable[Feature]:
    return discover().values() if features is None else features


def _accepted(feature: Feature, moment: datetime | None, run: str, spreads: Mapping[str, Spread]) -> Accepted:
    return Accepted(feature.name, run, None if feature.reads in TABLES else moment, spreads)


def _comparable(before: Accepted | None, column: str, values: pd.Series) -> tuple[Accepted, Spread] | None:
    """The accepted run and the column's spread then, if both runs have enough values to compare."""
    spread = before.columns.get(column) if before else None
    if before is None or spread is None or min(spread.rows, len(values)) < DRIFT_LEAST_VALUES:
        return None
    return before, spread


def _frames(settings: Settings, feature: Feature, moment: datetime | None) -> Iterator[pd.DataFrame]:
    """The columns that have expectations, numbers as float64: those of one value per row together, each list alone.

    Of a list every value is a row; a list that is empty or missing is one null.
    """
    path = snapshot(settings.features, feature.name, None if feature.reads in TABLES else moment)
    if not path.exists():
        raise FeatureQualityError(f"feature {feature.name}: {path} is not there: run `kairos features`")
    lists: list[str] = []
    plain: list[str] = []
    for column in feature.expects:
        if column not in feature.fields:
            raise FeatureQualityError(
                f"feature {feature.name}: expects names {column!r}, which is none of its fields: "
                f"{', '.join(feature.fields)}; correct feature_repo/features/{feature.name}.py"
            )
        (lists if isinstance(feature.fields[column], Array) else plain).append(f'"{column}"')
    selects = [", ".join(plain)] if plain else []
    selects += [f"unnest(CASE WHEN len({name}) > 0 THEN {name} ELSE [NULL] END) AS {name}" for name in lists]
    quoted = str(path).replace("'", "''")
    with duckdb.connect() as con:
        for select in selects:
            yield _sampled(con, f"SELECT {select} FROM read_parquet('{quoted}')")


def _sampled(con: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    [[rows]] = con.execute(f"SELECT count(*) FROM ({query})").fetchall()
    step = max(-(-rows // MOST_VALUES), 1)
    if step > 1:
        placed = f"SELECT *, row_number() OVER () AS place FROM ({query})"
        query = f"SELECT * EXCLUDE (place) FROM ({placed}) WHERE place % {step} = 0"
    frame = con.execute(query).df()
    numbers = [n for n, column in frame.items() if pd.api.types.is_numeric_dtype(column) or column.isna().all()]
    return frame.astype(dict.fromkeys(numbers, "float64"))


def _told(broken: list[tuple[str, Finding]], data_docs: Path) -> str:
    lines = [
        f"feature {feature}, {finding.rule} is {_number(finding.observed)}, expected {finding.expected}"
        for feature, finding in broken[:NAMED]
    ]
    more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    meant = "; if the drift is meant: `kairos features accept-drift`" if any(DRIFT in f.rule for _, f in broken) else ""
    return (
        f"the features break their expectations, the online store is as it was: {'; '.join(lines)}{more}; "
        f"correct the feature or the data{meant}; Data Docs: {data_docs}"
    )


def _number(observed: object) -> str:
    return f"{observed:.6g}" if isinstance(observed, (int, float)) else str(observed)
