"""The way in as a whole: real data through the flow, the same batch twice, killed runs, one writer at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import schema as s
from flows.connectors import Chunk, Connector, connector
from flows.connectors.files import CsvFiles
from flows.errors import BatchRefusedError, LakeBusyError
from flows.ingest import IngestReport, ingest
from flows.ingest_flow import ingest_flow
from flows.lake_writer import lake_lock
from flows.quarantine import show_batch
from flows.staging import stage_batch
from infra.settings import PROJECT_ROOT, Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = "user_id,item_id,behavior,timestamp,price\n"


def csv(path: Path, rows: range, extra: str = "") -> Path:
    path.write_text(HEADER + "".join(f"u{n % 7},i{n % 11},click,{1_483_271_606 + n},1.5\n" for n in rows) + extra)
    return path


def run(source: Path, settings: Settings, now: datetime = NOW, **options: object) -> IngestReport:
    return ingest(CsvFiles(source, **options), settings, now=now, progress=False)  # type: ignore[arg-type]


def events(settings: Settings) -> pa.Table:
    return pq.read_table(settings.lake / "events")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", chunk_rows=1_000)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, IngestReport]:
    """Twenty households of the real data, through the real flow."""
    settings = Settings(home=tmp_path_factory.mktemp("journey"), chunk_rows=5_000)
    return settings, ingest_flow("complete-journey", {"households": 20}, settings=settings, now=NOW)


def test_complete_journey_arrives_whole(journey: tuple[Settings, IngestReport]) -> None:
    settings, report = journey
    assert report.read == report.accepted > 5_000
    assert (report.rejected, report.already_known) == (0, 0)
    [file] = (settings.lake / "events").glob("*.parquet")
    assert file.stem == report.batch_id
    assert pq.read_schema(file).equals(s.EVENTS)
    rows = events(settings)
    assert rows.num_rows == report.accepted
    assert rows.column(s.EVENT_ID).combine_chunks().unique().__len__() == rows.num_rows
    assert len(rows.column(s.USER_ID).unique()) == 20
    first = rows.slice(0, 1).to_pylist()[0]
    context = dict(first[s.CONTEXT])
    assert first[s.EVENT_ID] == f"{context['basket_id']}-{first[s.ITEM_ID]}"
    assert first[s.SESSION_ID] == context["basket_id"]
    assert first[s.VALUE] == pytest.approx(first[s.PRICE] * first[s.QUANTITY])
    assert set(context) == {
        "discount", "retail_disc", "coupon_disc", "coupon_match_disc", "basket_id", "store_id", "week",
    }  # fmt: skip
    parts = [float(context[name]) for name in ("retail_disc", "coupon_disc", "coupon_match_disc")]
    assert float(context["discount"]) == pytest.approx(sum(parts), abs=0.006)
    assert rows.filter(pa.compute.equal(rows.column(s.QUANTITY), 0)).column(s.PRICE).null_count > 0


def test_complete_journey_tables(journey: tuple[Settings, IngestReport]) -> None:
    settings, report = journey
    items, users = (pq.read_table(settings.lake / f"{name}.parquet") for name in ("items", "users"))
    assert items.schema.equals(s.ITEMS)
    assert users.schema.equals(s.USERS)
    assert (items.num_rows, report.items) == (92_331, 92_331)
    assert report.users == users.num_rows > 0
    ice = next(row for row in items.to_pylist() if row["item_id"] == "25671")
    assert ice["name"] == "Ice - Crushed/Cubed 22 LB"
    assert (ice["category"], ice["subcategory"], ice["brand"]) == ("FRZN ICE", "ICE - CRUSHED/CUBED", "National")
    kept = {file.stem for file in (settings.lake / "tables").iterdir()}
    assert kept == {"coupons", "coupon_redemptions", "campaigns", "campaign_descriptions"}
    assert report.warnings["user_known"] > 0
    assert report.data_docs.is_file()
    assert report.batch_id in report.data_docs.read_text()


def test_the_same_batch_twice_adds_nothing(settings: Settings, tmp_path: Path) -> None:
    source = csv(tmp_path / "e.csv", range(3_500))
    first = run(source, settings)
    before = events(settings)
    again = run(source, settings, NOW + timedelta(hours=1))
    assert (first.accepted, again.accepted, again.already_known) == (3_500, 0, 3_500)
    assert events(settings).equals(before)
    more = run(csv(source, range(3_000, 4_000)), settings)
    assert (more.accepted, more.already_known) == (500, 500)
    assert events(settings).num_rows == 4_000


def test_a_killed_commit_leaves_nothing_and_the_next_run_finishes(settings: Settings, tmp_path: Path) -> None:
    source = csv(tmp_path / "e.csv", range(1_500))
    run(csv(tmp_path / "old.csv", range(5_000, 6_000)), settings)
    before = sorted(settings.lake.rglob("*.parquet"))
    script = f"""
        import os, signal
        from datetime import datetime, UTC
        from pathlib import Path
        from flows import lake_writer
        from flows.connectors.files import CsvFiles
        from flows.ingest import ingest
        from infra.settings import Settings

        lake_writer._put = lambda source, target: os.kill(os.getpid(), signal.SIGKILL)
        ingest(CsvFiles({str(source)!r}), Settings(home=Path({str(settings.home)!r})),
               now=datetime(2026, 1, 1, tzinfo=UTC), progress=False)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=PROJECT_ROOT, env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    assert any(settings.staging.iterdir())
    assert sorted(settings.lake.rglob("*.parquet")) == before
    report = run(source, settings)
    assert (report.accepted, report.already_known) == (1_500, 0)
    assert not any(settings.staging.iterdir())


def test_staged_but_never_committed_is_not_in_the_lake(settings: Settings, tmp_path: Path) -> None:
    source = csv(tmp_path / "e.csv", range(1_500))
    stage_batch(CsvFiles(source), settings, batch_id="lost", now=NOW, progress=False)
    assert not settings.lake.exists()
    assert run(source, settings).accepted == 1_500
    assert not (settings.staging / "lost").exists()


def test_one_writer_at_a_time(settings: Settings, tmp_path: Path) -> None:
    source = csv(tmp_path / "e.csv", range(10))
    with lake_lock(settings), pytest.raises(LakeBusyError, match=f"process {os.getpid()} is writing .*lake"):
        run(source, settings)
    assert run(source, settings).accepted == 10


def test_newest_item_wins_and_tables_may_come_later(settings: Settings, tmp_path: Path) -> None:
    source, items = csv(tmp_path / "e.csv", range(50)), tmp_path / "items.csv"
    items.write_text("item_id,name,colour,timestamp\ni1,Tea,green,2017-01-02\ni1,Old tea,brown,2017-01-01\ni2,Salt,,\n")
    first = run(source, settings, items=items)
    assert first.warnings["item_known"] > 0
    items.write_text("item_id,name,colour,timestamp\ni1,Stale,grey,2016-01-01\ni2,Sea salt,white,\n")
    run(source, settings, items=items)
    rows = {row["item_id"]: row for row in pq.read_table(settings.lake / "items.parquet").to_pylist()}
    assert rows["i1"]["name"] == "Tea"
    assert rows["i1"]["attributes"] == [("colour", "green")]
    assert rows["i2"]["name"] == "Sea salt"
    assert rows["i2"]["timestamp"] == datetime(1970, 1, 1, tzinfo=UTC)


def test_mapped_columns_and_behaviours(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "theirs.csv"
    source.write_text("event_time,kind,sku,who\n2019-10-01 00:00:00 UTC,transaction,s1,w1\n")
    names = {"user_id": "who", "item_id": "sku", "timestamp": "event_time", "behavior": "kind"}
    report = run(source, settings, columns=names, behaviours={"transaction": "purchase"})
    [row] = events(settings).to_pylist()
    assert (row["user_id"], row["item_id"], row["event_type"]) == ("w1", "s1", "purchase")
    assert row["timestamp"] == datetime(2019, 10, 1, tzinfo=UTC)
    assert row["batch_id"] == report.batch_id


def test_parquet_and_csv_of_the_same_events_are_the_same_events(settings: Settings, tmp_path: Path) -> None:
    run(csv(tmp_path / "e.csv", range(100)), settings)
    table = pa.table(
        {
            "user_id": [f"u{n % 7}" for n in range(100)],
            "item_id": [f"i{n % 11}" for n in range(100)],
            "event_type": ["click"] * 100,
            "timestamp": pa.array([1_483_271_606_000 + 1_000 * n for n in range(100)], pa.timestamp("ms")),
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    report = ingest(connector("parquet", path=tmp_path / "e.parquet"), settings, now=NOW, progress=False)
    assert (report.accepted, report.already_known) == (0, 100)


def test_only_a_valid_row_makes_the_next_one_a_copy(settings: Settings, tmp_path: Path) -> None:
    same = "u,i,click,1483271606"
    source = tmp_path / "e.csv"
    # The copies of one event lie in three chunks.
    rows = [f"{same},-1", *(f"u{n},i,click,5,1" for n in range(1_000)), f"{same},2", f"{same},3"]
    rows += [*(f"u{n},i,click,6,1" for n in range(1_500)), f"{same},4"]
    source.write_text(HEADER + "\n".join(rows) + "\n")
    report = run(source, settings)
    assert report.by_rule == {"price_not_negative": 1, "event_id_unique": 2}
    rows = show_batch(settings.quarantine, report.batch_id)
    assert rows.column("row").to_pylist() == [1, 1003, 2504]
    assert events(settings).filter(pa.compute.equal(events(settings).column("user_id"), "u")).num_rows == 1


class Log(Connector):
    """A source that is read again and again and marks what was taken."""

    name = "log"
    may_be_empty = True

    def __init__(self, *rows: dict[str, object]) -> None:
        self.source = "log"
        self.rows = rows
        self.marked = False

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        for number, row in enumerate(self.rows, start=1):
            yield Chunk(pa.Table.from_pylist([row]), first_row=number)

    def committed(self) -> None:
        self.marked = True


def test_a_log_may_be_empty_and_is_told_when_its_events_are_in(settings: Settings) -> None:
    empty = Log()
    assert ingest(empty, settings, now=NOW, progress=False).read == 0
    assert empty.marked
    event = {"event_id": "e", "user_id": "u", "item_id": "i", "event_type": "view", "timestamp": NOW}
    # Chunks may differ in their columns.
    log = Log(event, event | {"event_id": "f", "price": 2.5, "context": {"page": "home"}})
    assert ingest(log, settings, now=NOW, progress=False).accepted == 2
    assert events(settings).column(s.CONTEXT).to_pylist() == [None, [("page", "home")]]
    bad = Log({**event, "event_type": "sniff"})
    with pytest.raises(BatchRefusedError):
        ingest(bad, settings, now=NOW, progress=False)
    assert not bad.marked
