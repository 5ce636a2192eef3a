"""From a value back to its snapshot, its run, its batches and its events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from feature_repo.batch import Batch, batch_file
from feature_repo.errors import UnknownFeatureError, UnknownValueError
from feature_repo.event import Event, to_arrow
from feature_repo.event_log import open_event_log
from feature_repo.lineage import Computed, Online, lineage
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from tests.feature_repo.conftest import event

NOW = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)
PURCHASES = "user_activity:purchases_7d"


def bring(features: Features, name: str, events: Sequence[Event], items: int = 0) -> Batch:
    """Add a batch to the lake, as ingest does."""
    lake = features.settings.lake
    batch = Batch(name, f"{name}.csv", f"run of {name}", NOW, len(events), len(events), 0, 0, items, 0)
    for folder in (lake / "events", lake / "batches"):
        folder.mkdir(parents=True, exist_ok=True)
    batch.save(batch_file(lake, name))
    rows = to_arrow(events)
    ids = pa.array([name] * len(events), pa.string())
    rows = rows.set_column(rows.schema.get_field_index(s.BATCH_ID), s.EVENTS.field(s.BATCH_ID), ids)
    pq.write_table(rows, lake / "events" / f"{name}.parquet")
    return batch


def computed(features: Features, name: str, entity: str, at: datetime | None = None) -> Computed:
    found = lineage(features, name, entity, at).computed
    assert found is not None
    return found


def online(features: Features, name: str, entity: str) -> Online:
    found = lineage(features, name, entity).online
    assert found is not None
    return found


def test_a_value_leads_to_its_snapshot_its_run_and_its_batches(features: Features) -> None:
    first = bring(features, "b1", [event("u", "a", NOW - 3 * DAY), event("u", "b", NOW - 2 * DAY)])
    second = bring(features, "b2", [event("u", "c", NOW - DAY), event("other", "a", NOW)])
    features.compute([NOW], run="features-1")
    found = computed(features, PURCHASES, "u")
    assert (found.value, found.moment, found.late) == (3, NOW, 0)
    assert found.snapshot.parent == features.settings.features / "user_activity"
    assert found.manifest is not None
    assert (found.manifest.run, found.manifest.batches) == ("features-1", ["b1", "b2"])
    assert [(share.batch, share.events, share.newest) for share in found.shares] == [
        (second, 1, NOW - DAY),
        (first, 2, NOW - 2 * DAY),
    ]
    assert [row["item_id"] for row in found.newest_events] == ["c", "b", "a"]


def test_a_value_of_the_past_has_the_events_of_the_past(features: Features) -> None:
    bring(features, "b1", [event("u", "a", NOW - 3 * DAY), event("u", "b", NOW)])
    features.compute([NOW - DAY, NOW])
    found = computed(features, PURCHASES, "u", NOW - DAY / 2)
    assert (found.value, found.moment) == (1, NOW - DAY)
    assert [share.events for share in found.shares] == [1]
    assert lineage(features, PURCHASES, "u", NOW).online is None


def test_what_came_in_after_the_snapshot_did_not_go_in(features: Features) -> None:
    bring(features, "b1", [event("u", "a", NOW - DAY)])
    features.compute([NOW])
    bring(features, "late", [event("u", "b", NOW - 2 * DAY)])
    found = computed(features, PURCHASES, "u")
    assert (found.value, found.late) == (1, 1)
    assert [share.batch_id for share in found.shares] == ["b1"]


def test_an_impression_is_no_part_of_a_value(features: Features) -> None:
    bring(features, "b1", [event("u", "a", NOW - DAY), event("u", "b", NOW - DAY, "impression")])
    features.compute([NOW])
    assert [share.events for share in computed(features, PURCHASES, "u").shares] == [1]


def test_items_and_hours_have_their_own_events(features: Features) -> None:
    monday = datetime(2024, 3, 25, 10, 30, tzinfo=UTC)
    bring(features, "b1", [event("u", "a", monday), event("v", "a", monday + DAY), event("v", "b", monday)])
    features.compute([NOW])
    assert [share.events for share in computed(features, "item_popularity:buyers_30d", "a").shares] == [2]
    assert [share.events for share in computed(features, "time_of_week:intensity", "10").shares] == [2]


def test_a_table_leads_to_the_batches_that_brought_rows_of_it(features: Features, catalogue: None) -> None:
    with_items = bring(features, "b1", [event("u", "a", NOW)], items=3)
    bring(features, "b2", [event("u", "b", NOW)])
    features.compute([NOW])
    found = computed(features, "item_catalogue:category", "a")
    assert found.value == "fruit"
    assert [share.batch for share in found.shares] == [with_items]


def test_the_online_value_comes_from_the_snapshot_or_from_later_events(features: Features) -> None:
    bring(features, "b1", [event("u", "a", NOW - DAY)])
    features.compute([NOW])
    features.apply()
    features.materialize(NOW)
    before = online(features, PURCHASES, "u")
    assert (before.value, before.from_snapshot, before.since) == (1, True, [])

    arrived = event("u", "b", NOW + DAY / 24)
    with closing(open_event_log(features.settings)) as log:
        log.append([arrived, event("other", "b", NOW)])
    StreamPath(features).apply([arrived], NOW + DAY / 24)
    after = online(features, PURCHASES, "u")
    assert (after.value, after.from_snapshot) == (2, False)
    assert [row["event_id"] for row in after.since] == [arrived.event_id]


def test_a_user_known_to_the_stream_alone(features: Features) -> None:
    bring(features, "b1", [event("u", "a", NOW - DAY)])
    features.compute([NOW])
    features.apply()
    features.materialize(NOW)
    arrived = event("new", "a", NOW)
    with closing(open_event_log(features.settings)) as log:
        log.append([arrived])
    StreamPath(features).apply([arrived], NOW)
    found = lineage(features, PURCHASES, "new")
    assert found.computed is None
    assert found.online is not None
    assert [row["event_id"] for row in found.online.since] == [arrived.event_id]


def test_what_is_not_there_is_told(features: Features) -> None:
    bring(features, "b1", [event("u", "a", NOW)])
    features.compute([NOW])
    with pytest.raises(UnknownFeatureError, match="no feature view 'user'; expected VIEW:FEATURE"):
        lineage(features, "user", "u")
    with pytest.raises(UnknownFeatureError, match=r"has no feature 'purchases'; expected one of .*purchases_7d"):
        lineage(features, "user_activity:purchases", "u")
    with pytest.raises(UnknownValueError, match="of user_id 'nobody' is not known: no snapshot"):
        lineage(features, PURCHASES, "nobody")
    with pytest.raises(UnknownValueError, match="is not known at 2024-03-01"):
        lineage(features, PURCHASES, "u", datetime(2024, 3, 1, tzinfo=UTC))
