"""The contract of events gains a column: files of before are read on, beside newer ones and alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.event import Event, to_arrow
from feature_repo.lake import Lake
from feature_repo.lineage import lineage
from feature_repo.store import Features
from tests.feature_repo.conftest import event

NOW = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = (s.CONTEXT, s.VARIANT, s.POSITION)
"""Columns that this test takes for new."""
ITEMS_LATER = (s.ATTRIBUTES, s.BRAND)

Write = Callable[[str, Sequence[Event], Sequence[str]], None]


@pytest.fixture
def write(features: Features) -> Write:
    """A file of the lake without some columns, and with one that only it has."""

    def add(name: str, events: Sequence[Event], without: Sequence[str]) -> None:
        folder = features.settings.lake / "events"
        folder.mkdir(parents=True, exist_ok=True)
        rows = to_arrow(events).drop_columns(list(without))
        pq.write_table(rows.append_column(f"of_{name}", pa.array([1] * len(events))), folder / f"{name}.parquet")

    return add


@pytest.mark.parametrize(
    ("first", "second"), [(LATER, ()), ((), LATER), (LATER, LATER)], ids=["old first", "old last", "all old"]
)
def test_features_of_old_files(features: Features, write: Write, first: Sequence[str], second: Sequence[str]) -> None:
    write("1", [event("u", "a", NOW - 3 * DAY, price=2.0), event("v", "b", NOW - 2 * DAY)], first)
    write("2", [event("u", "b", NOW - DAY, price=3.0, context={"discount": "0.5"}, variant="x")], second)
    lake = Lake(features.settings.lake)
    items = pa.Table.from_pylist([{s.ITEM_ID: "a", s.CATEGORY: "fruit", s.TIMESTAMP: s.BEGINNING}], schema=s.ITEMS)
    pq.write_table(items.drop_columns(list(ITEMS_LATER)), lake.items)
    assert lake.summary()["events"] == 3
    features.compute([NOW])
    features.apply()
    row = features.users_at(["u"], NOW).loc["u"]
    assert (row.events_7d, row.spend_7d) == (2, 5.0)
    assert features.events()[s.PRICE].to_pylist() == [2.0, None, 3.0]
    found = lineage(features, "user_activity:purchases_7d", "u").computed
    assert found is not None
    assert [one[s.ITEM_ID] for one in found.newest_events] == ["b", "a"]


def test_what_newer_files_have_is_read_and_what_the_contract_does_not_know_is_not(
    features: Features, write: Write
) -> None:
    write("1", [event("u", "a", NOW - 3 * DAY)], LATER)
    write("2", [event("u", "b", NOW - DAY, context={"discount": "0.5"})], ())
    lake = Lake(features.settings.lake)
    lake.prepare()
    with DuckDBEngine(lake).cut(NOW, ["events"]) as cut:
        rows = cut.con.to_pyarrow(cut.tables["events"].order_by(s.TIMESTAMP))
    assert rows[s.DISCOUNT].to_pylist() == [None, 0.5]
    assert not {"of_1", "of_2"} & set(rows.column_names)


def test_a_table_that_an_ingest_brings_meanwhile_stays(
    features: Features, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("1", [event("u", "a", NOW - DAY)], ())
    found = Lake(features.settings.lake)
    brought = pa.Table.from_pylist([{s.ITEM_ID: "a", s.TIMESTAMP: NOW}], schema=s.ITEMS)
    begin = pq.write_table

    def meanwhile(table: pa.Table, where: Path) -> None:
        begin(brought, found.items)
        begin(table, where)

    monkeypatch.setattr("feature_repo.lake.pq.write_table", meanwhile)
    found.prepare()
    assert pq.read_table(found.items).num_rows == 1
    assert pq.read_table(found.users).num_rows == 0
    assert list(found.root.glob(".*")) == []
