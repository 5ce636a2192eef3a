"""Everything that can be wrong with a file: a clear answer that names the field, and a lake that stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.connectors import connector
from flows.connectors.files import format_of
from flows.errors import (
    BatchRefusedError,
    BrokenEncodingError,
    BrokenFileError,
    EmptySourceError,
    IngestError,
    MissingColumnError,
    UnknownBatchError,
)
from flows.ingest import IngestReport, ingest
from flows.ingest_flow import ingest_flow
from flows.quarantine import list_batches, show_batch
from infra.settings import Settings
from tests.flows.heard import heard

NOW = datetime(2020, 1, 1, tzinfo=UTC)
HEADER = "user_id,item_id,behavior,timestamp,price"
GOOD = [f"u{n},i{n},click,{1_500_000_000 + n},2.5" for n in range(200)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with something in it, to see that it stays as it is."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), chunk_rows=1_000)
    old = settings.home / "old.csv"
    old.write_text("user_id,item_id,behavior,timestamp\nold,old,click,1\n")
    run(old, settings)
    return settings


def run(path: Path, settings: Settings) -> IngestReport:
    return ingest(connector(format_of(path), path=path), settings, now=NOW, progress=False)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def lake_files(settings: Settings) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in settings.lake.rglob("*") if file.is_file()}


BAD_ROWS = {
    "unknown behaviour": ("u,i,sniff,1500000000,1", "event_type_allowed", ("behavior", "sniff")),
    "unreadable time": ("u,i,click,soon,1", "timestamp_readable", ("timestamp", "soon")),
    "future time": ("u,i,click,2020-01-02,1", "timestamp_not_future", ("timestamp", "2020-01-02")),
    "milliseconds": ("u,i,click,1500000000000,1", "timestamp_in_seconds", ("timestamp", "1500000000000")),
    "negative price": ("u,i,click,1500000000,-1.50", "price_not_negative", ("price", "-1.50")),
    "price in words": ("u,i,click,1500000000,cheap", "price_readable", ("price", "cheap")),
    "long user": (f"{'u' * 300},i,click,1500000000,1", "user_id_length", ("user_id", "u" * 300)),
    "long item": (f"u,{'i' * 300},click,1500000000,1", "item_id_length", ("item_id", "i" * 300)),
    "no user": (",i,click,1500000000,1", "user_id_required", ("item_id", "i")),
    "duplicate": (GOOD[5], "event_id_unique", ("user_id", "u5")),
    "too few columns": ("garbage", "row_form", ("line", "garbage")),
    "too many columns": ("u,i,click,1500000000,1,2,3", "row_form", ("line", "u,i,click,1500000000,1,2,3")),
}


def test_each_bad_row_is_rejected_with_its_rule_and_the_rest_goes_on(settings: Settings, tmp_path: Path) -> None:
    lines = [*GOOD[:100], *(line for line, _, _ in BAD_ROWS.values()), *GOOD[100:]]
    lenient = settings.model_copy(update={"max_rejected_share": 0.1})
    report = run(write(tmp_path / "mixed.csv", lines), lenient)
    assert (report.read, report.accepted, report.rejected) == (len(lines), 200, len(BAD_ROWS))
    rows = show_batch(settings.quarantine, report.batch_id).to_pylist()
    found = {row["row"]: row for row in rows}
    for number, (line, rule, raw) in enumerate(BAD_ROWS.values(), start=101):
        assert found[number]["rules"] == [rule], line
        assert raw in found[number]["raw"], line
        assert found[number]["source"] == str(tmp_path / "mixed.csv")
    [batch] = [b for b in list_batches(settings.quarantine) if b.batch_id == report.batch_id]
    assert batch.by_rule == report.by_rule
    assert report.expected["user_id_length"] == "user_id of at most 128 characters"
    assert set(report.expected) == set(report.by_rule)
    assert (batch.open, batch.rejected_at) == (len(BAD_ROWS), NOW)
    assert batch.by_rule["row_form"] == 2


def test_a_tenth_of_garbage_refuses_the_batch_and_keeps_the_rows_to_look_at(settings: Settings, tmp_path: Path) -> None:
    lines = [line if n % 10 else f"u{n},i,???,not a time,-5" for n, line in enumerate(GOOD)]
    before = lake_files(settings)
    with pytest.raises(BatchRefusedError) as refused:
        run(write(tmp_path / "garbage.csv", lines), settings)
    error = refused.value
    assert (error.rule, error.expected) == ("rejected_share", "at most 5.0%")
    assert error.measured.startswith("10.0% of 200 rows rejected (")
    assert "event_type_allowed: 20, expected event_type one of impression, view, click" in error.measured
    assert "timestamp_readable: 20, expected timestamp in epoch seconds or ISO 8601" in error.measured
    assert "the lake is as it was" in str(error)
    assert lake_files(settings) == before
    rows = show_batch(settings.quarantine, error.batch_id)
    assert rows.num_rows == 20
    assert rows.column("rules")[0].as_py() == ["event_type_allowed", "timestamp_readable", "price_not_negative"]
    assert str(settings.quarantine / f"{error.batch_id}.parquet") in error.hint


def damaged(folder: Path, what: str) -> Path:
    path = write(folder / "damaged.csv", GOOD)
    text = path.read_bytes()
    if what == "missing column":
        path.write_bytes(text.replace(b"item_id", b"product", 1))
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "header only":
        path.write_text(HEADER + "\n")
    elif what == "encoding":
        path.write_bytes(text.replace(b"u150", b"caf\xe9"))
    elif what == "truncated parquet":
        path = folder / "damaged.parquet"
        pq.write_table(pa.table({"user_id": ["u"] * 10_000}), path)
        path.write_bytes(path.read_bytes()[:-200])
    return path


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("missing column", MissingColumnError, r"column 'item_id' is missing, found 'user_id', 'product'"),
        ("empty", EmptySourceError, r"the file is empty, expected a header"),
        ("header only", BatchRefusedError, r"rule not_empty: no rows, expected at least 1"),
        ("encoding", BrokenEncodingError, r"line 152, byte \d+: 0xe9 isn't utf-8 text; save the file as UTF-8"),
        ("truncated parquet", BrokenFileError, r"not readable as Parquet, \d+ bytes.*was the file copied whole"),
    ],
)
def test_a_damaged_file_is_refused_and_named(
    settings: Settings, tmp_path: Path, what: str, error: type[IngestError], message: str
) -> None:
    before = lake_files(settings)
    path = damaged(tmp_path, what)
    with pytest.raises(error, match=message) as raised:
        run(path, settings)
    assert str(path) in str(raised.value)
    assert lake_files(settings) == before
    assert not any(settings.staging.glob("*"))


def test_a_batch_that_is_too_old_is_refused(settings: Settings, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"max_batch_age_days": 7.0})
    with pytest.raises(BatchRefusedError, match=r"newest_event_age: the newest event is 9\d\d\.\d days old"):
        run(write(tmp_path / "old.csv", GOOD), strict)


def test_rows_of_items_are_judged_too(settings: Settings, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,price\n" + "".join(f"i{n},1\n" for n in range(99)) + "i99,-3\n")
    events = write(tmp_path / "e.csv", ["new,i1,click,1500000000,1"])
    source = connector("csv", path=events, items=items)
    report = ingest(source, settings, now=NOW, progress=False)
    assert (report.by_rule, report.items) == ({"items.price_not_negative": 1}, 99)
    [row] = show_batch(settings.quarantine, report.batch_id).to_pylist()
    assert (row["row"], row["source"]) == (100, f"{events}: items")


def test_the_flow_raises_the_same_error(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "garbage.csv", ["u,i,???,1,1"] * 5)
    begun = datetime.now(UTC)
    with pytest.raises(BatchRefusedError, match="rule rejected_share"):
        ingest_flow("csv", {"path": str(path)}, settings=settings, now=NOW)
    assert "rule rejected_share" in heard("batch-refused", begun)


def test_an_unknown_batch_is_named(settings: Settings) -> None:
    with pytest.raises(UnknownBatchError, match="holds no batch 'nothing'"):
        show_batch(settings.quarantine, "nothing")
