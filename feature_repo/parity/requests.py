"""Logged requests against the lake: the values that a model was given, and the point-in-time values of their moments.

A row of the online store is true for its own moment, and the offline row of that moment must equal it. What the row
could not know is no difference: a request is left out while events of its user are not in the lake yet, and when
some of before the row's moment came after the request.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from feature_repo import schema as s
from feature_repo.errors import NoRequestsError
from feature_repo.event_log import INGEST_CONSUMER, EventLog, open_event_log, unread
from feature_repo.feature import HOUR_OF_WEEK, USER, Feature
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.parity.compare import compare_rows, compare_streamed
from feature_repo.parity.offline import PAIRS_AT_ONCE, PointInTime
from feature_repo.parity.online import Observed
from feature_repo.parity.report import ParityReport
from feature_repo.request_log import LoggedRequest, RequestLog
from feature_repo.snapshots import TABLES
from feature_repo.store import Features, hour_of_week
from infra.settings import Settings

WAITING: Final = "events not in the lake yet"
LATE: Final = "late events"


def check_requests(
    settings: Settings, requests: int, *, progress: Callable[[str, int, int], None] = lambda step, done, of: None
) -> ParityReport:
    """Compare what the newest logged requests read with the lake.

    Raises:
        NoRequestsError: none were logged.
        EmptyLakeError: the lake holds no events.
    """
    if not settings.request_log.exists():
        raise NoRequestsError(
            f"{settings.request_log} is not there: start the service with KAIROS_REQUEST_LOG_SHARE above 0, "
            f"ask it for recommendations, and ingest their events"
        )
    lake = Lake(settings.lake)
    lake.prepare()
    with closing(RequestLog.of(settings)) as log:
        logged = list(log.newest(requests))
    with closing(open_event_log(settings)) as events:
        unsure = _Unsure(events, logged)
    report = ParityReport()
    with _scratch(settings) as scratch:
        offline = PointInTime(lake, scratch)
        for start in range(0, len(logged), PAIRS_AT_ONCE):
            part = logged[start : start + PAIRS_AT_ONCE]
            rows = []
            for request in part:
                for row in _rows(request):
                    reason = unsure.reason_against(row, request)
                    if reason:
                        report.left_out[reason] += 1
                    else:
                        rows.append(row)
            _compare(report, offline, rows)
            _compare_on_demand(report, offline, part)
            report.events += len(part)
            progress("requests", report.events, len(logged))
    return report


def _rows(request: LoggedRequest) -> Iterator[Observed]:
    """The request's rows of the views that the installation has."""
    features = discover()
    keys = {s.USER_ID: request.user_id, HOUR_OF_WEEK: hour_of_week(request.at.timestamp())}
    views: dict[str, dict[str, Any]] = defaultdict(dict)
    for reference, value in request.values.items():
        view, _, name = reference.partition(":")
        views[view][name] = value
    for view in views.keys() & features.keys():
        feature = features[view]
        moment = request.moments.get(view)
        yield Observed(feature, keys[feature.entity.join_key], request.at, moment, views[view])


def _compare(report: ParityReport, offline: PointInTime, rows: Sequence[Observed]) -> None:
    compare_streamed(report, offline, [row for row in rows if row.feature.streamed])
    others: dict[Feature, list[Observed]] = defaultdict(list)
    for row in rows:
        if not row.feature.streamed:
            others[row.feature].append(row)
    for feature, of_feature in others.items():
        for moment in {row.true_for for row in of_feature}:
            offline.write_moment([feature], moment)
        compare_rows(report, offline, of_feature)


def _compare_on_demand(report: ParityReport, offline: PointInTime, requests: Sequence[LoggedRequest]) -> None:
    """These know no events, so all requests can be compared."""
    views = offline.on_demand()
    by_references: dict[tuple[str, ...], list[LoggedRequest]] = defaultdict(list)
    for request in requests:
        references = tuple(name for name in request.values if name.partition(":")[0] in views)
        if references:
            by_references[references].append(request)
    for references, of_them in by_references.items():
        found = offline.read_on_demand(references, [request.at for request in of_them])
        for request, values in zip(of_them, found, strict=True):
            for reference in references:
                online, then = request.values[reference], values[reference.partition(":")[2]]
                report.compare_value(reference, request.user_id, request.at, online, then)


class _Unsure:
    """The service's events that a row may not have known, or that the lake does not hold."""

    def __init__(self, log: EventLog, requests: Sequence[LoggedRequest]) -> None:
        self._ingested = log.place(INGEST_CONSUMER).position
        self._events: list[tuple[int, str, datetime]] = []
        position = min([self._ingested, *(request.applied for request in requests)])
        for events in unread(log, position):
            telling = ((at, event) for at, event in events if event.event_type != s.IMPRESSION)
            self._events += [(at, event.user_id, event.timestamp) for at, event in telling if event.timestamp]
        self._of_user = defaultdict(list)
        for at, user, timestamp in self._events:
            self._of_user[user].append((at, user, timestamp))

    def reason_against(self, row: Observed, request: LoggedRequest) -> str | None:
        """Why the row cannot be compared; None: it can."""
        if row.feature.reads in TABLES:
            return None
        events = self._of_user[row.key] if row.feature.entity is USER else self._events
        for position, _, timestamp in events:
            if timestamp <= row.true_for and position > request.applied:
                return LATE
            if timestamp <= row.true_for and position > self._ingested:
                return WAITING
        return None


@contextmanager
def _scratch(settings: Settings) -> Iterator[Features]:
    with tempfile.TemporaryDirectory(prefix="kairos-parity-") as folder:
        own = {"registry": None, "registry_type": "file", "online_store": "sqlite", "event_stream": "sqlite"}
        yield Features.open(settings.model_copy(update={**own, "home": Path(folder)}))
