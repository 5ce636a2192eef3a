"""Online rows beside the offline rows of their moments."""

from __future__ import annotations

from collections.abc import Sequence

from feature_repo.feature import Feature
from feature_repo.parity.offline import Pair, PointInTime
from feature_repo.parity.online import Observed
from feature_repo.parity.report import ParityReport


def compare_streamed(report: ParityReport, offline: PointInTime, rows: Sequence[Observed]) -> dict[Feature, set[Pair]]:
    """Compare rows of streamed views, each with the offline row of the moment that it is true for.

    Returns:
        Which of the pairs of entity and moment, online's and when it was read, have a row offline.
    """
    features = list(dict.fromkeys(row.feature for row in rows))
    written = offline.write_pairs(features, {(row.key, moment) for row in rows for moment in (row.at, row.true_for)})
    for feature in features:
        compare_rows(report, offline, feature, [row for row in rows if row.feature is feature])
    return written


def compare_rows(report: ParityReport, offline: PointInTime, feature: Feature, rows: Sequence[Observed]) -> None:
    """Compare a view's rows with offline rows that have been written."""
    found = offline.read(feature, [(row.key, row.true_for) for row in rows])
    for row, values in zip(rows, found, strict=True):
        report.compare(feature, row.key, row.true_for, row.values, {} if row.has_expired else values)
