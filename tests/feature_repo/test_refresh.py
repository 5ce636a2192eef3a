"""A refresh brings item features up to the minute: in every store, over the lake and the log alike."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from feature_repo.errors import FeaturesBusyError, NotMaterializedError, RegistryBehindError
from feature_repo.event import Event
from feature_repo.event_log import INGEST_CONSUMER, open_event_log
from feature_repo.features.item_popularity import FEATURE as POPULARITY
from feature_repo.packed import PackedItems
from feature_repo.packed_files import PackedFiles
from feature_repo.packed_source import pack
from feature_repo.refresh import refresh, replacing
from feature_repo.refreshed import HOURS
from feature_repo.store import Features, hour_of_week

from .conftest import FillLake, event

START = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def shop(features: Features, fill: FillLake, catalogue: None) -> Features:
    """Purchases of a and b; the features are online as of `START`."""
    fill([event("u1", "a", START - timedelta(days=1), price=2.0), event("u2", "b", START - timedelta(days=2))])
    features.compute([START])
    features.apply()
    with replacing(features, START):
        features.materialize(START)
    return features


def posted(features: Features, *events: Event) -> None:
    with closing(open_event_log(features.settings)) as log:
        log.append(events)


def packed(features: Features) -> PackedItems:
    table = PackedFiles(features.settings.packed).newest()
    assert table is not None
    return table


def value(table: PackedItems, item: str, name: str) -> float:
    return float(table.read([item])[0][0, table.number_names.index(name)])


def online(features: Features, item: str, name: str) -> float:
    found = features.online_rows("item_popularity", "item_id", [item])[name].iloc[0]
    return float("nan") if found is None else float(found)


def test_decayed_popularity_and_trend_by_hand(features: Features, fill: FillLake, catalogue: None) -> None:
    """A purchase weighs 5 and a view 1, halved every 3, 14 or 60 days, counted to the full hour."""
    fill([event("u", "a", START - timedelta(days=3)), event("u", "a", START - timedelta(days=14), "view")])
    moment = START + timedelta(minutes=59, seconds=59)
    features.compute([moment])
    features.apply()
    [row] = features.items_at(["a"], moment).to_dict("records")
    fast, slow = 5 * 0.5 + 0.5 ** (14 / 3), 5 * 0.5 ** (3 / 14) + 0.5
    assert row["decayed_3d"] == pytest.approx(fast, rel=1e-12)
    assert row["decayed_14d"] == pytest.approx(slow, rel=1e-12)
    assert row["trend"] == pytest.approx((fast / 3) / (slow / 14), rel=1e-12)


def test_an_event_of_the_log_counts_online_offline_and_packed(shop: Features) -> None:
    posted(shop, event("u3", "a", START + timedelta(seconds=5), price=4.0), event("u3", "new", START))
    done = refresh(shop, START + MINUTE)
    assert (done.moment, done.fresh) == (START + MINUTE, 2)
    for item, purchases in (("a", 2.0), ("b", 1.0), ("new", 1.0)):
        assert value(packed(shop), item, "purchases_7d") == purchases
        assert online(shop, item, "purchases_7d") == purchases
        assert shop.items_at([item], START + MINUTE)["purchases_7d"].tolist() == [purchases]
    assert shop.items_at(["a"], START)["purchases_7d"].tolist() == [1.0]
    week = shop.online_rows("time_of_week", "hour_of_week", [hour_of_week(START.timestamp())])  # type: ignore[list-item]
    assert week["intensity"].iloc[0] == 168.0 * 2 / 4


def test_an_event_in_the_log_and_in_the_lake_counts_once(shop: Features, fill: FillLake) -> None:
    """An ingest has committed it and is about to move its mark."""
    both = event("u3", "a", START)
    posted(shop, both)
    fill([both])
    done = refresh(shop, START + MINUTE)
    assert done.fresh == 0
    assert value(packed(shop), "a", "purchases_7d") == 2.0
    with closing(open_event_log(shop.settings)) as log:
        log.mark(INGEST_CONSUMER, 1, since=log.place(INGEST_CONSUMER))
    assert refresh(shop, START + 2 * MINUTE).rows["item_popularity"] == 0


def test_events_after_the_moment_and_impressions_wait(shop: Features) -> None:
    posted(shop, event("u3", "a", START + 2 * MINUTE), event("u3", "a", START, "impression"))
    refresh(shop, START + MINUTE)
    assert value(packed(shop), "a", "purchases_7d") == 1.0
    refresh(shop, START + 3 * MINUTE)
    assert value(packed(shop), "a", "purchases_7d") == 2.0


def test_only_changed_items_are_written(shop: Features) -> None:
    posted(shop, event("u3", "c", START, price=1.0))
    assert refresh(shop, START + MINUTE).rows["item_popularity"] == 1
    assert refresh(shop, START + 2 * MINUTE).rows["item_popularity"] == 0
    # The decay counts to the full hour, so at its turn every item is another.
    assert refresh(shop, START + timedelta(hours=1)).rows["item_popularity"] == 3


def test_what_is_packed_is_what_feast_answers(shop: Features) -> None:
    posted(shop, event("u3", "a", START, price=4.0), event("u4", "new", START))
    refresh(shop, START + MINUTE)
    posted(shop, event("u5", "b", START + MINUTE, price=9.0))
    moment = START + 2 * MINUTE
    refresh(shop, moment)
    table, again = packed(shop), pack(shop, moment)
    for item in ("a", "b", "c", "new"):
        [(ours, texts), (theirs, their_texts)] = [t.read([item]) for t in (table, again)]
        assert ours.tobytes() == theirs.tobytes()
        assert texts.tolist() == their_texts.tolist()
        for name in POPULARITY.fields:
            assert online(shop, item, name) == pytest.approx(value(table, item, name), rel=0, abs=0, nan_ok=True)


def test_a_clock_that_runs_backwards_stands_still(shop: Features) -> None:
    refresh(shop, START + 5 * MINUTE)
    posted(shop, event("u3", "a", START + MINUTE))
    done = refresh(shop, START + 2 * MINUTE)
    assert done.moment == START + 5 * MINUTE
    assert online(shop, "a", "purchases_7d") == 2.0
    assert shop.items_at(["a"], START + 5 * MINUTE)["purchases_7d"].tolist() == [2.0]


def test_the_offline_store_keeps_two_days_of_refreshes(shop: Features) -> None:
    folder = shop.settings.features / "item_popularity"
    for hour in (0, 1, HOURS):
        posted(shop, event("u3", "a", START + timedelta(hours=hour), price=1.0 + hour))
        refresh(shop, START + timedelta(hours=hour) + MINUTE)
        refresh(shop, START + timedelta(hours=hour) + 2 * MINUTE)
    files = sorted(path.name for path in folder.glob("refreshed_*.parquet"))
    assert files == ["refreshed_36.parquet", "refreshed_37.parquet"]
    moments = set(pq.read_table(folder / files[0])["event_timestamp"].to_pylist())
    assert moments == {START + timedelta(hours=HOURS) + MINUTE}


def test_a_materialisation_leaves_a_table_of_what_is_online(shop: Features, fill: FillLake) -> None:
    refresh(shop, START + MINUTE)
    fill([event("u3", "a", START + 2 * MINUTE)])
    until = START + 2 * MINUTE
    shop.compute([until])
    with replacing(shop, until):
        assert PackedFiles(shop.settings.packed).current is None
        with pytest.raises(FeaturesBusyError):
            refresh(shop, until)
        shop.materialize(until)
    assert value(packed(shop), "a", "purchases_7d") == online(shop, "a", "purchases_7d") == 2.0
    assert refresh(shop, until + MINUTE).rows["item_popularity"] == 0


def test_a_failed_materialisation_has_the_next_refresh_write_every_row(shop: Features) -> None:
    def fail() -> None:
        with replacing(shop, START):
            raise RuntimeError("killed in between")

    with pytest.raises(RuntimeError):
        fail()
    assert refresh(shop, START + MINUTE).rows["item_popularity"] == 2


def test_a_damaged_table_is_made_anew(shop: Features) -> None:
    files = PackedFiles(shop.settings.packed)
    version = files.current
    assert version
    (shop.settings.packed / version / "numbers.npy").write_bytes(b"")
    assert refresh(shop, START + MINUTE).rows["item_popularity"] == 2
    assert value(packed(shop), "a", "purchases_7d") == 1.0


def test_without_registered_features_it_says_what_to_do(features: Features, fill: FillLake, catalogue: None) -> None:
    fill([event("u1", "a", START)])
    with pytest.raises((NotMaterializedError, RegistryBehindError), match="kairos features"):
        refresh(features, START)
