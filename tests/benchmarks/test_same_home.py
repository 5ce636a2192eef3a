"""What tells a home that lost or doubled something from one that did not."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from benchmarks.ops.same_home import differences
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.snapshots import compute
from flows.connectors.files import CsvFiles
from flows.ingest import ingest
from infra.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def home(folder: Path) -> Settings:
    """A lake, and one feature over it."""
    folder.mkdir()
    source = folder / "events.csv"
    lines = [f"u{n % 7},i{n % 11},purchase,{1_735_689_600 + n * 9_000},{1 + n / 7}\n" for n in range(400)]
    source.write_text("user_id,item_id,behavior,timestamp,price\n" + "".join(lines))
    config = Settings(home=folder / "home")
    ingest(CsvFiles(source), config, now=NOW, progress=False)
    lake = Lake(config.lake)
    compute(DuckDBEngine(lake), lake, [discover()["user_items"]], [NOW], config.features)
    return config


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Settings, Settings]:
    return home(tmp_path / "ours"), home(tmp_path / "theirs")


def test_the_same_data_ingested_twice_are_the_same(homes: tuple[Settings, Settings]) -> None:
    assert differences(*homes) == []


def test_a_doubled_batch_and_a_lost_one_are_told(homes: tuple[Settings, Settings]) -> None:
    ours, theirs = homes
    [batch] = Lake(theirs.lake).events_folder.glob("*.parquet")
    shutil.copy(batch, batch.with_name("again.parquet"))
    assert "event rows is 800, not 400" in differences(ours, theirs)
    assert "event rows is 400, not 800" in differences(theirs, ours)


@pytest.mark.parametrize(("column", "value"), [("price", "price + 1e-6"), ("item_id", "'other'")])
def test_a_changed_event_is_told(homes: tuple[Settings, Settings], column: str, value: str) -> None:
    ours, theirs = homes
    [batch] = Lake(theirs.lake).events_folder.glob("*.parquet")
    changed = batch.with_suffix(".new")
    first = "event_id = (SELECT min(event_id) FROM rows)"
    duckdb.sql(
        f"COPY (WITH rows AS (FROM read_parquet('{batch}')) "
        f"SELECT * REPLACE (CASE WHEN {first} THEN {value} ELSE {column} END AS {column}) FROM rows) "
        f"TO '{changed}' (FORMAT parquet)"
    )
    changed.rename(batch)
    assert any(said.startswith("events' checksum is") for said in differences(ours, theirs))


def test_a_changed_feature_and_a_missing_snapshot_are_told(homes: tuple[Settings, Settings]) -> None:
    ours, theirs = homes
    [snapshot] = theirs.features.rglob("*.parquet")
    changed = snapshot.with_suffix(".new")
    duckdb.sql(
        f"COPY (SELECT * REPLACE (list_transform(own_decayed, lambda w: w * 1.001) AS own_decayed) "
        f"FROM read_parquet('{snapshot}')) TO '{changed}' (FORMAT parquet)"
    )
    changed.rename(snapshot)
    [said] = differences(ours, theirs)
    assert "values differ" in said
    snapshot.unlink()
    [said] = differences(ours, theirs)
    assert said.endswith("is in one home alone")
