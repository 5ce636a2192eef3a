"""Every feature on a handful of events, against values worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from feature_repo.features.item_catalogue import FEATURE
from feature_repo.store import Features
from infra.settings import Settings
from tests.feature_repo.conftest import add_catalogue, add_events, event

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)  # a Sunday
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Features:
    """For all tests of the file, which ask it and change nothing of it."""
    config = Settings(home=tmp_path_factory.mktemp("home"))
    add_catalogue(config)
    add_events(
        config,
        [
            event("u", "a", NOW - 40 * DAY, price=2.0, quantity=3, context={"discount": "0.5"}),
            event("u", "a", NOW - 10 * DAY, price=4.0, quantity=1),
            event("u", "b", NOW - 10 * DAY, value=1.5),
            event("u", "c", NOW - 1 * DAY, kind="view"),
            event("u", "b", NOW - 1 * DAY, kind="impression"),
            event("v", "d", NOW - 100 * DAY),
            event("w", "a", NOW + 1 * DAY),  # the future: no feature may see it
        ],
    )
    features = Features.open(config)
    features.compute([NOW])
    features.apply()
    return features


def test_user_activity(known: Features) -> None:
    row = known.users_at(["u"], NOW).loc["u"]
    assert (row.events_7d, row.events_30d, row.events_90d) == (1, 3, 4)
    assert (row.purchases_7d, row.purchases_30d, row.purchases_90d) == (0, 2, 3)
    assert (row.spend_7d, row.spend_30d, row.spend_90d) == (0, 5.5, 11.5)
    assert (row.items_7d, row.items_30d, row.items_90d) == (0, 2, 2)
    assert row.baskets_90d == 2  # a and b were bought in one
    assert row.purchase_gap_days == 30
    assert row.last_event_at == (NOW - DAY).timestamp()
    assert row.last_purchase_at == (NOW - 10 * DAY).timestamp()


def test_user_items_are_ordered_by_decayed_weight(known: Features) -> None:
    row = known.users_at(["u"], NOW).loc["u"]
    assert list(row.own_items) == ["a", "b", "c"]
    assert list(row.own_purchases) == [2, 1, 0]
    assert row.own_decayed[0] == pytest.approx(5 * 0.5 ** (40 / 90) + 5 * 0.5 ** (10 / 90))
    assert row.own_decayed_fast[1] == pytest.approx(5 * 0.5 ** (10 / 14))
    assert row.own_first_at[0] == (NOW - 40 * DAY).timestamp()
    assert row.own_last_purchase_at[2] != row.own_last_purchase_at[2]  # never bought: NaN


def test_what_was_taken(known: Features) -> None:
    row = known.users_at(["u"], NOW).loc["u"]
    assert list(row.seen_items) == ["a", "b", "c"]
    assert list(row.bought_items) == ["a", "b"]


def test_session_is_newest_last_and_without_impressions(known: Features) -> None:
    row = known.users_at(["u"], NOW).loc["u"]
    assert list(row.session_items) == ["a", "b", "a", "c"]
    assert row.session_types[-1] == "view"
    assert row.session_times[-1] == (NOW - DAY).timestamp()


def test_affinity_is_the_share_of_decayed_weight(known: Features) -> None:
    row = known.users_at(["u"], NOW).loc["u"]
    fruit = 5 * 0.5 ** (40 / 90) + 2 * 5 * 0.5 ** (10 / 90)
    fish = 1 * 0.5 ** (1 / 90)
    assert list(row.categories) == ["fruit", "fish"]
    assert list(row.category_shares) == pytest.approx([fruit / (fruit + fish), fish / (fruit + fish)])


def test_item_popularity(known: Features) -> None:
    items = known.items_at(["a", "c", "d", "nothing"], NOW)
    a = items.loc["a"]
    assert (a.purchases_7d, a.purchases_30d, a.purchases_90d) == (0, 1, 2)
    assert (a.buyers_30d, a.buyers_90d) == (1, 1)
    assert a.price_mean == 3.0
    assert a.discount_share == 0.5
    assert a.price_level == 1.0  # the only fruit with a price
    assert items.loc["c"].events_30d == 1
    assert items.loc["d"].first_seen_at == (NOW - 100 * DAY).timestamp()
    assert items.loc["a", "name"] == "A"
    assert items.loc["nothing"].isna().all()


@pytest.mark.parametrize(
    ("attributes", "in_stock"),
    [
        (None, None),
        ({"colour": "red"}, None),
        ({s.IN_STOCK: "1"}, 1.0),
        ({s.IN_STOCK: "true"}, 1.0),
        ({s.IN_STOCK: "17"}, 1.0),
        ({s.IN_STOCK: "0"}, 0.0),
        ({s.IN_STOCK: " False "}, 0.0),
        ({s.IN_STOCK: "no"}, 0.0),
    ],
)
def test_what_is_in_stock_is_read_from_the_attributes(
    attributes: dict[str, str] | None, in_stock: float | None, tmp_path: Path
) -> None:
    row = {s.ITEM_ID: "a", s.ATTRIBUTES: attributes and list(attributes.items()), s.TIMESTAMP: NOW - 9 * DAY}
    pq.write_table(pa.Table.from_pylist([row], schema=s.ITEMS), tmp_path / "items.parquet")
    con = ibis.duckdb.connect()
    table = con.read_parquet(tmp_path / "items.parquet")
    [told] = con.to_pyarrow(FEATURE.expression(table))[s.IN_STOCK].to_pylist()
    assert told == in_stock


def test_time_of_week_has_every_hour(known: Features) -> None:
    known.materialize(NOW)
    hours = known.online_rows("time_of_week", "hour_of_week", list(range(168)))  # type: ignore[arg-type]
    assert hours.intensity.sum() == pytest.approx(168)
    wednesday_noon = 2 * 24 + 12  # NOW - 40 days was a Tuesday, NOW - 10 days a Thursday
    assert hours.loc[wednesday_noon, "intensity"] == 0
    thursday_noon = hours.loc[3 * 24 + 12]
    assert thursday_noon.intensity == pytest.approx(168 * 2 / 5)
    assert list(thursday_noon.top_categories) == ["fruit"]


def test_request_time_is_computed_on_demand(known: Features) -> None:
    row = known.users_at(["u"], NOW).loc["u"]
    assert (row.hour_sin, row.hour_cos) == (pytest.approx(0, abs=1e-9), pytest.approx(-1))  # noon


def test_a_user_nobody_knows_keeps_the_row(known: Features) -> None:
    rows = known.users_at(["nobody", "u"], NOW)
    assert list(rows.index) == ["nobody", "u"]
    assert rows.loc["nobody"].events_7d != rows.loc["nobody"].events_7d
    assert rows.loc["nobody"].session_items is None
