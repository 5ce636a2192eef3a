"""Online rows beside the offline rows of their moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from feature_repo.feature import MOMENT
from feature_repo.parity.offline import PointInTime
from feature_repo.parity.online import Observed
from feature_repo.parity.report import ParityReport


def compare_rows(
    report: ParityReport, offline: PointInTime, rows: Sequence[Observed], moments: Sequence[datetime] | None = None
) -> None:
    """Compare rows of one view with offline rows that have been written: of the moments that the online rows are true
    for, or of others that they should be true for."""
    if not rows:
        return
    moments = moments or [row.true_for for row in rows]
    feature = rows[0].feature
    found = offline.read(feature, [(row.key, moment) for row, moment in zip(rows, moments, strict=True)])
    for row, moment, values in zip(rows, moments, found, strict=True):
        report.compare(feature, row.key, moment, row.values, {} if row.has_expired else values)


def compare_streamed(report: ParityReport, offline: PointInTime, rows: Sequence[Observed]) -> None:
    """Compare rows of streamed views with the offline rows of the moments that they are true for."""
    features = list(dict.fromkeys(row.feature for row in rows))
    offline.write_pairs(features, {(row.key, row.true_for) for row in rows})
    for feature in features:
        compare_rows(report, offline, [row for row in rows if row.feature is feature])


def compare_up_to_date(report: ParityReport, offline: PointInTime, rows: Sequence[Observed]) -> None:
    """Compare rows of streamed views that must be as of when they were read, wherever the batch has a row as of then:
    with the offline rows of that moment."""
    features = list(dict.fromkeys(row.feature for row in rows))
    written = offline.write_pairs(features, {(row.key, moment) for row in rows for moment in (row.at, row.true_for)})
    for feature in features:
        of_feature = [row for row in rows if row.feature is feature]
        moments = [row.at if (row.key, row.at) in written[feature] else row.true_for for row in of_feature]
        compare_rows(report, offline, of_feature, moments)
        for row in of_feature:
            if (row.key, row.at) in written[feature]:
                report.compare_value(f"{feature.name}:{MOMENT}", row.key, row.at, online=row.moment, offline=row.at)
