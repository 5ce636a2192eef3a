"""The way back from the quarantine: rows are filed once, taken out, fixed, brought in, and never lost."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.batch import Batch, batch_file
from feature_repo.event import Event
from feature_repo.event_log.sqlite import SqliteEventLog
from flows.connectors import connector
from flows.errors import BatchRefusedError, FixedRowsError, UnknownBatchError
from flows.ingest import IngestReport, ingest
from flows.quarantine import QuarantinedBatch, list_batches, show_batch
from flows.replay import ReplayReport, current_rows, export_rows, replay, replay_flow
from infra.settings import PROJECT_ROOT, Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = "user_id,item_id,behavior,timestamp,price"
BAD = {3: "u,bad type,juggle,1500000003,1", 5: "u,bad time,click,yesterday,1", 7: "u,bad price,click,1500000007,-2"}
"""Row in the source -> the row."""


def write(path: Path, bad: dict[int, str] = BAD) -> Path:
    rows = [bad.get(n, f"u{n},i{n},click,{1_500_000_000 + n},1") for n in range(1, 101)]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def bring_in(path: Path, settings: Settings, now: datetime = NOW, **options: Any) -> IngestReport:
    name = "parquet" if path.suffix == ".parquet" else "csv"
    return ingest(connector(name, path=path, **options), settings, now=now, progress=False)


def again(batch: str, settings: Settings, fixed: Path | None = None) -> ReplayReport:
    return replay(batch, settings, now=NOW + timedelta(hours=1), fixed=fixed)


def fix(settings: Settings, batch: str, out: Path, **values: dict[str, str]) -> Path:
    """Export the batch's open rows and overwrite values: `r3={"price": "2"}`; a row set to {} is left out."""
    export_rows(settings.quarantine, batch, out)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    rows = [row | values.get(f"r{row['row']}", {"price": row.get("price", "")}) for row in rows]
    with out.open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return out


def lake_items(settings: Settings) -> list[str]:
    return sorted(pq.read_table(settings.lake / "events").column("item_id").to_pylist())


def only_batch(settings: Settings) -> QuarantinedBatch:
    [batch] = list_batches(settings.quarantine)
    return batch


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", chunk_rows=1_000)


def test_a_partly_bad_batch_twice_is_filed_once(settings: Settings, tmp_path: Path) -> None:
    first = bring_in(write(tmp_path / "e.csv"), settings)
    second = bring_in(tmp_path / "e.csv", settings, NOW + timedelta(hours=1))
    assert (second.rejected, second.accepted) == (3, 0)
    assert only_batch(settings).batch_id == first.batch_id
    assert second.notes == [f"3 rejected rows are in the quarantine already, under batch {first.batch_id}"]


def test_of_a_changed_file_only_the_new_bad_rows_are_filed(settings: Settings, tmp_path: Path) -> None:
    bring_in(write(tmp_path / "e.csv"), settings)
    more = bring_in(write(tmp_path / "e.csv", BAD | {9: "u,new,fly,1500000009,1"}), settings, NOW + timedelta(hours=1))
    [row] = show_batch(settings.quarantine, more.batch_id).to_pylist()
    assert (row["row"], dict(row["raw"])["item_id"]) == (9, "new")


def test_a_refused_batch_twice_is_filed_once_and_told_where(settings: Settings, tmp_path: Path) -> None:
    source = write(tmp_path / "e.csv", {n: f"u,i{n},juggle,1500000000,1" for n in range(1, 21)})
    for _ in range(2):
        with pytest.raises(BatchRefusedError) as refused:
            bring_in(source, settings)
        batch = only_batch(settings)
        assert batch.open == 20
        assert f"{batch.batch_id}.parquet" in refused.value.hint


def test_fixed_rows_reach_the_lake_and_are_resolved(settings: Settings, tmp_path: Path) -> None:
    batch = bring_in(write(tmp_path / "e.csv"), settings).batch_id
    fixed = fix(
        settings, batch, tmp_path / "f.csv", r3={"behavior": "cart"}, r5={"timestamp": "1500000005"}, r7={"price": "2"}
    )
    report = again(batch, settings, fixed)
    assert (report.replayed, report.resolved, report.open, report.broken) == (3, 3, 0, {})
    assert {"bad type", "bad time", "bad price"} < set(lake_items(settings))
    assert (only_batch(settings).open, only_batch(settings).resolved) == (0, 3)
    assert set(show_batch(settings.quarantine, batch)["resolved_by"].to_pylist()) == {report.batch_id}
    known = Batch.of(batch_file(settings.lake, report.batch_id))
    assert known is not None
    assert known.source == f"replay of {batch}: {tmp_path / 'e.csv'}"
    assert known.accepted == 3


def test_replaying_twice_adds_nothing(settings: Settings, tmp_path: Path) -> None:
    batch = bring_in(write(tmp_path / "e.csv"), settings).batch_id
    fixed = fix(settings, batch, tmp_path / "f.csv", r3={"behavior": "cart"})
    again(batch, settings, fixed)
    before = lake_items(settings)
    second = again(batch, settings, fixed)
    assert (second.resolved, second.already_resolved, second.open) == (0, 1, 2)
    assert lake_items(settings) == before
    # The source, brought in once more, does not open what is resolved.
    bring_in(tmp_path / "e.csv", settings, NOW + timedelta(hours=2))
    assert (only_batch(settings).open, only_batch(settings).resolved) == (2, 1)


def test_what_is_still_bad_stays_as_last_tried_with_its_rules(settings: Settings, tmp_path: Path) -> None:
    batch = bring_in(write(tmp_path / "e.csv"), settings).batch_id
    fixed = fix(settings, batch, tmp_path / "f.csv", r3={"behavior": "cart", "price": "-1"})
    report = again(batch, settings, fixed)
    assert report.broken[("events", 3)] == ["price_not_negative"]
    held = show_batch(settings.quarantine, batch)
    assert dict(held["raw"][0].as_py())["behavior"] == "juggle"  # as it came
    assert current_rows(held)[0] | {"behavior": "cart", "price": "-1"} == current_rows(held)[0]
    assert only_batch(settings).by_rule == {"price_not_negative": 2, "timestamp_readable": 1}
    done = again(batch, settings, fix(settings, batch, tmp_path / "g.csv", r3={"price": "1"}))
    assert (done.resolved, done.open) == (1, 2)


def test_rows_as_they_came_follow_rules_that_have_changed(settings: Settings, tmp_path: Path) -> None:
    future = write(tmp_path / "e.csv", {4: "u,early,click,1767226000,1"})  # 2026-01-01 00:06:40
    batch = bring_in(future, settings).batch_id
    assert only_batch(settings).by_rule == {"timestamp_not_future": 1}
    assert again(batch, settings).resolved == 1
    assert "early" in lake_items(settings)


def test_columns_and_behaviours_of_the_source_are_remembered(settings: Settings, tmp_path: Path) -> None:
    rows = [f"w{n},s{n},transaction,1500000000" for n in range(50)]
    (tmp_path / "e.csv").write_text("\n".join(["who,sku,kind,when", *rows, "w,,transaction,1500000000"]) + "\n")
    names = {"user_id": "who", "item_id": "sku", "timestamp": "when", "behavior": "kind"}
    batch = bring_in(tmp_path / "e.csv", settings, columns=names, behaviours={"transaction": "purchase"}).batch_id
    fixed = fix(settings, batch, tmp_path / "f.csv", r51={"item_id": "found"})
    assert again(batch, settings, fixed).resolved == 1
    row = next(r for r in pq.read_table(settings.lake / "events").to_pylist() if r["item_id"] == "found")
    assert row["event_type"] == "purchase"


def test_a_line_that_was_no_row_is_written_out_in_columns(settings: Settings, tmp_path: Path) -> None:
    batch = bring_in(write(tmp_path / "e.csv", {8: "u;torn;click;1500000008;1"}), settings).batch_id
    assert again(batch, settings).replayed == 0  # there is nothing to judge yet
    values = {"user_id": "u", "item_id": "torn", "behavior": "click", "timestamp": "1500000008", "price": "1"}
    report = again(batch, settings, fix(settings, batch, tmp_path / "f.csv", r8=values))
    assert (report.resolved, report.open) == (1, 0)
    assert "torn" in lake_items(settings)


def test_typed_and_nested_values_come_back_as_they_were(settings: Settings, tmp_path: Path) -> None:
    table = pa.table(
        {
            "user_id": pa.array([float(n) for n in range(50)]),
            "item_id": [None, *(f"i{n}" for n in range(1, 50))],
            "event_type": ["click"] * 50,
            "timestamp": pa.array([1_500_000_000_000] * 50, pa.timestamp("ms")),
            "context": pa.array([[("page", "a 'quoted' \"one\"")]] * 50, pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    batch = bring_in(tmp_path / "e.parquet", settings).batch_id
    fixed = fix(settings, batch, tmp_path / "f.csv", r1={"item_id": "i0"})
    again(batch, settings, fixed)
    rows = {row["item_id"]: row for row in pq.read_table(settings.lake / "events").to_pylist()}
    same = ("event_type", "timestamp", "context")
    assert [rows["i0"][name] for name in same] == [rows["i1"][name] for name in same]
    assert rows["i0"]["user_id"] == "0"


def test_rows_of_the_items_table_are_replayed_too(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,price\n" + "".join(f"i{n},1\n" for n in range(99)) + "i99,-3\n")
    batch = bring_in(write(tmp_path / "e.csv", {}), settings, items=tmp_path / "items.csv").batch_id
    assert again(batch, settings, fix(settings, batch, tmp_path / "f.csv", r100={"price": "3"})).open == 0
    prices = {row["item_id"]: row["price"] for row in pq.read_table(settings.lake / "items.parquet").to_pylist()}
    assert prices["i99"] == 3
    assert len(prices) == 100


def test_events_of_the_service_can_be_fixed_too(settings: Settings, tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    early = Event(event_id="e", user_id="u", item_id="early", event_type="view", timestamp=NOW + timedelta(minutes=9))
    rest = [
        Event(event_id=f"e{n}", user_id="u", item_id=f"i{n}", event_type="view", timestamp=NOW, context={"page": "x"})
        for n in range(50)
    ]
    log.append([early, *rest])
    batch = ingest(connector("event-log", path=tmp_path / "log.db"), settings, now=NOW, progress=False).batch_id
    assert again(batch, settings).resolved == 1
    row = next(r for r in pq.read_table(settings.lake / "events").to_pylist() if r["item_id"] == "early")
    assert (row["event_id"], row["timestamp"]) == ("e", NOW + timedelta(minutes=9))


def test_a_kill_between_lake_and_quarantine_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    batch = bring_in(write(tmp_path / "e.csv"), settings).batch_id
    fixed = fix(settings, batch, tmp_path / "f.csv", r3={"behavior": "cart"})
    script = f"""
        import os, signal
        from datetime import UTC, datetime
        from pathlib import Path
        from flows import quarantine
        from flows.replay import replay
        from infra.settings import Settings

        quarantine.save_batch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        replay({batch!r}, Settings(home=Path({str(settings.home)!r})), now=datetime(2026, 1, 1, 1, tzinfo=UTC),
               fixed=Path({str(fixed)!r}))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=PROJECT_ROOT, env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    before = lake_items(settings)
    assert "bad type" in before
    assert only_batch(settings).open == 3
    report = again(batch, settings, fixed)
    assert (report.resolved, report.already_known) == (1, 1)
    assert only_batch(settings).open == 2
    assert lake_items(settings) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user_id,item_id\nu,i\n", "column 'table' is missing"),
        ("table,row,colour\nevents,3,red\n", "column 'colour' is none of the batch's"),
        ("table,row,user_id\nevents,4,u\n", "no rejected row '4' of 'events'"),
        ("table,row,user_id\nevents,3,u\nevents,3,v\n", "row 3 of events is there twice"),
    ],
)
def test_a_file_that_does_not_fit_is_told(settings: Settings, tmp_path: Path, text: str, told: str) -> None:
    batch = bring_in(write(tmp_path / "e.csv"), settings).batch_id
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(FixedRowsError, match=told):
        again(batch, settings, tmp_path / "f.csv")
    assert only_batch(settings).open == 3


def test_an_unknown_batch_is_named(settings: Settings) -> None:
    with pytest.raises(UnknownBatchError, match="holds no batch 'nothing'"):
        again("nothing", settings)


def test_the_flow_has_its_run_and_its_pages(settings: Settings, tmp_path: Path) -> None:
    batch = bring_in(write(tmp_path / "e.csv"), settings).batch_id
    fixed = fix(settings, batch, tmp_path / "f.csv", r3={"behavior": "cart"})
    report = replay_flow(batch, fixed, settings=settings, now=NOW + timedelta(hours=1))
    known = Batch.of(batch_file(settings.lake, report.batch_id))
    assert known is not None
    assert known.run.startswith("replay-")
    assert report.data_docs is not None
    assert report.batch_id in report.data_docs.read_text()
