"""Compaction: the same rows in fewer files, whoever reads meanwhile and whenever it is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.equal_tables import compare
from feature_repo import schema as s
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.snapshots import compute, missing
from flows import compaction
from flows.compaction import Compacted, compact
from flows.compaction_flow import compact_flow
from flows.connectors.files import CsvFiles
from flows.errors import LakeBusyError
from flows.ingest import IngestReport, ingest
from flows.lake_layout import READ_FOR
from flows.lake_writer import lake_lock
from infra.settings import PROJECT_ROOT, Settings
from tests.flows.killer import Killed, Killer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", reports=tmp_path / "reports", chunk_rows=1_000)


@pytest.fixture(params=["link", "folder"])
def lake(config: Settings, request: pytest.FixtureRequest) -> Path:
    """Six files, as ingest leaves them, and as it left them before there were links."""
    folder = config.lake / ("generations/000001" if request.param == "link" else "events")
    folder.mkdir(parents=True)
    if request.param == "link":
        (config.lake / "events").symlink_to("generations/000001")
    for number in range(6):
        pq.write_table(rows(number), folder / f"{number}.parquet")
    return config.lake


def rows(batch: int, number: int = 400) -> pa.Table:
    """Events of a batch: later ones in later batches, but for some."""
    when = [NOW - timedelta(days=60 - 10 * batch, minutes=37 * n) for n in range(number)]
    return pa.Table.from_pylist(
        [
            {
                s.EVENT_ID: f"{batch}-{n}",
                s.USER_ID: f"u{n % 13}",
                s.ITEM_ID: f"i{n % 17}",
                s.EVENT_TYPE: (s.VIEW, s.PURCHASE, s.CART)[n % 3],
                s.TIMESTAMP: at,
                s.PRICE: n / 7,
                s.CONTEXT: [("discount", "0.5")],
                s.BATCH_ID: str(batch),
            }
            for n, at in enumerate(when)
        ],
        schema=s.EVENTS,
    )


def held(lake: Path) -> pa.Table:
    """All events in the order in which the files are read."""
    return pa.concat_tables([pq.read_table(file) for file in sorted((lake / "events").glob("*.parquet"))])


def told(lake: Path) -> tuple[object, ...]:
    """What other code knows a lake by."""
    of = Lake(lake)
    return of.summary(), of.events_until([NOW - timedelta(days=20), NOW]), of.batches_until(NOW)


def ids_of(lake: Path) -> list[str]:
    found: list[str] = held(lake)[s.EVENT_ID].to_pylist()
    return found


def test_the_rows_are_the_same_in_one_file(config: Settings, lake: Path) -> None:
    before, known = held(lake), told(lake)
    done = compact(config, now=NOW)
    assert (done.files_before, done.files_after, done.rows) == (6, 1, 2_400)
    assert done.bytes_after < done.bytes_before
    assert told(lake) == known
    [file] = (lake / "events").glob("*.parquet")
    assert pq.read_schema(file).equals(s.EVENTS)
    assert pq.read_table(file).equals(before)
    assert [pq.ParquetFile(file).metadata.row_group(n).num_rows for n in range(3)] == [1_000, 1_000, 400]


def test_a_second_run_finds_nothing_to_do(config: Settings, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "TARGET_ROWS", 1_000)
    before = held(lake)
    assert compact(config, now=NOW).files_after == 3
    names = sorted(file.name for file in (lake / "events").iterdir())
    folder = Lake(lake).events_folder
    again = compact(config, now=NOW)
    assert (again.files_before, again.files_after) == (3, 3)
    assert Lake(lake).events_folder == folder
    assert names == ["1.merged.parquet", "3.merged.parquet", "5.merged.parquet"]
    assert held(lake).equals(before)


def test_large_files_stay_as_they_are_and_newer_ones_join_the_last(
    config: Settings, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "TARGET_ROWS", 1_000)
    compact(config, now=NOW)
    large = [(lake / "events" / f"{n}.merged.parquet").stat().st_ino for n in (1, 3)]
    for number in (6, 7):
        pq.write_table(rows(number, 100), lake / "events" / f"{number}.parquet")
    before = held(lake)
    assert compact(config, now=NOW).files_after == 3
    assert sorted(file.name for file in (lake / "events").iterdir()) == [
        "1.merged.parquet", "3.merged.parquet", "7.merged.parquet",
    ]  # fmt: skip
    assert [(lake / "events" / f"{n}.merged.parquet").stat().st_ino for n in (1, 3)] == large
    assert held(lake).equals(before)


@pytest.mark.parametrize("lake", ["link"], indirect=True)
def test_features_and_what_they_are_known_by_are_the_same(config: Settings, lake: Path) -> None:
    features = list(discover().values())
    moments = [NOW - timedelta(days=20), NOW]
    engine = DuckDBEngine(Lake(lake))

    def computed(into: Path) -> dict[str, pa.Table]:
        compute(engine, Lake(lake), features, moments, into)
        return {str(file.relative_to(into)): pq.read_table(file) for file in sorted(into.rglob("*.parquet"))}

    before = computed(config.features)
    compact(config, now=NOW)
    assert missing(Lake(lake), features, moments, config.features) == []
    after = computed(config.home / "again")
    assert len(before) > len(features)
    assert after.keys() == before.keys()
    for name, values in before.items():
        found = compare(values, after[name], values.column_names[:2])
        assert found.differences == 0, (name, found.examples)


def killed_at_each_step(config: Settings, killer: Killer, scratch: Path) -> Iterator[tuple[int, Settings]]:
    """For each step of a compaction the installation as it is when it was killed right before that step."""
    for step in range(1, 200):
        home = scratch / f"home-{step}"
        shutil.copytree(config.home, home, symlinks=True)
        own = config.model_copy(update={"home": home})
        killer.arm(own.lake, step)
        try:
            compact(own, now=NOW)
        except Killed:
            yield step, own
            shutil.rmtree(home)
        else:
            killer.folder = None
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("lake", ["link"], indirect=True)
def test_killed_before_any_step_the_lake_is_whole_and_a_rerun_completes(
    config: Settings, lake: Path, killer: Killer, tmp_path: Path
) -> None:
    compact(config, now=NOW - 2 * READ_FOR)
    pq.write_table(rows(6, 10), lake / "events" / "6.parquet")  # so there is an old folder to remove, too
    wanted, known = ids_of(lake), told(lake)
    files_of_others: set[int] = set()
    for step, own in killed_at_each_step(config, killer, tmp_path):
        assert ids_of(own.lake) == wanted, step
        assert told(own.lake) == known, step
        files_of_others.add(len(list((own.lake / "events").iterdir())))
        assert compact(own, now=NOW).files_after == 1, step
        assert ids_of(own.lake) == wanted, step
        assert told(own.lake) == known, step
        assert len(list((own.lake / "generations").iterdir())) == 2, step
    assert step >= 15  # it was killed at many places,
    assert files_of_others == {1, 2}  # before and after the one step that counts


@pytest.mark.parametrize("lake", ["folder"], indirect=True)
def test_killed_while_an_old_lake_gets_its_link_ours_read_it_and_a_rerun_completes(
    config: Settings, lake: Path, killer: Killer, tmp_path: Path
) -> None:
    known = told(lake)
    for step, own in killed_at_each_step(config, killer, tmp_path):
        assert told(own.lake) == known, step
        assert compact(own, now=NOW).files_after == 1, step
        assert told(own.lake) == known, step
    assert step >= 10


@pytest.mark.parametrize("lake", ["link"], indirect=True)
def test_kill_9_while_a_file_is_written(config: Settings, lake: Path) -> None:
    code = """
        import sys, time
        from datetime import UTC, datetime
        from pathlib import Path
        import pyarrow.parquet as pq
        from flows.compaction import compact
        from infra.settings import Settings

        def write(self, *rows, **options):
            print("writing", flush=True)
            time.sleep(60)

        pq.ParquetWriter.write_table = write
        compact(Settings(home=Path(sys.argv[1])), now=datetime.now(UTC))
    """
    known = told(lake)
    command = [sys.executable, "-c", textwrap.dedent(code), str(config.home)]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        with pytest.raises(LakeBusyError, match=f"process {process.pid} is writing"):
            compact(config, now=NOW)
        process.send_signal(signal.SIGKILL)
    assert told(lake) == known
    assert compact(config, now=NOW).files_after == 1
    assert told(lake) == known


@pytest.mark.parametrize("lake", ["link"], indirect=True)
def test_who_listed_the_files_before_reads_them_to_the_end(config: Settings, lake: Path) -> None:
    wanted = ids_of(lake)
    listed = sorted(Lake(lake).events_folder.glob("*.parquet"))
    compact(config, now=NOW)
    assert pa.concat_tables([pq.read_table(file) for file in listed])[s.EVENT_ID].to_pylist() == wanted
    compact(config, now=NOW + READ_FOR - HOUR)
    assert all(file.exists() for file in listed)
    compact(config, now=NOW + READ_FOR + HOUR)
    assert not any(file.exists() for file in listed)
    assert ids_of(lake) == wanted


@pytest.mark.parametrize("lake", ["link"], indirect=True)
def test_readers_at_work_never_see_a_row_too_few_or_twice(config: Settings, lake: Path) -> None:
    seen: list[int] = []
    failed: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                counted = Lake(lake).summary()["events"]
                assert isinstance(counted, int)
                seen.append(counted)
            except Exception as error:  # noqa: BLE001 - whatever it is, no reader may meet it
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    possible = {2_400}
    for number in range(10, 40):
        compact(config, now=NOW)
        pq.write_table(rows(number, 10), config.home / "new.parquet")
        possible.add(max(possible) + 10)
        (config.home / "new.parquet").rename(lake / "events" / f"{number}.parquet")
    ended.set()
    reader.join()
    assert failed == []
    assert set(seen) <= possible
    assert seen == sorted(seen)
    assert len(set(seen)) > 3  # it did read while the files were exchanged


def test_columns_of_another_version_stay(config: Settings, lake: Path) -> None:
    old = rows(0).drop_columns([s.VARIANT, s.CONTEXT])
    newer = rows(1).append_column("channel", pa.array(["app"] * 400)).append_column("cents", pa.array([7] * 400))
    pq.write_table(old, lake / "events" / "0.parquet")
    pq.write_table(newer, lake / "events" / "1.parquet")
    known = told(lake)
    compact(config, now=NOW)
    assert told(lake) == known
    merged = held(lake)
    assert merged.schema.names == [*s.EVENTS.names, "channel", "cents"]
    assert merged[s.CONTEXT].null_count == 400
    assert merged.slice(400, 400)["channel"].to_pylist() == ["app"] * 400
    assert merged["cents"].null_count == 2_000


@pytest.fixture
def ingested(config: Settings, tmp_path: Path) -> Callable[[range], IngestReport]:
    hours = count()  # batches of one moment would lie in any order

    def run(numbers: range) -> IngestReport:
        source = tmp_path / "events.csv"
        lines = [f"e{n},u{n % 7},i{n % 11},click,{1_483_271_606 + n}\n" for n in numbers]
        source.write_text("event_id,user_id,item_id,behavior,timestamp\n" + "".join(lines))
        return ingest(CsvFiles(source), config, now=NOW + next(hours) * HOUR, progress=False)

    return run


def test_what_was_ingested_is_known_after_a_compaction(
    config: Settings, ingested: Callable[[range], IngestReport]
) -> None:
    for start in (0, 50, 100):
        ingested(range(start, start + 50))
    assert (config.lake / "events").is_symlink()
    before = held(config.lake)
    report: Compacted = compact_flow(settings=config)
    assert (report.files_before, report.files_after) == (3, 1)
    again = ingested(range(100, 160))
    assert (again.accepted, again.already_known) == (10, 50)
    assert len(list((config.lake / "events").glob("*.parquet"))) == 2
    assert held(config.lake).slice(0, 150).equals(before)
    assert compact(config, now=NOW).files_after == 1
    ids = ids_of(config.lake)
    assert len(ids) == len(set(ids)) == 160
    assert ingested(range(160)).accepted == 0


def test_an_ingest_and_a_compaction_wait_for_each_other(config: Settings, lake: Path) -> None:
    with lake_lock(config), pytest.raises(LakeBusyError, match="one writer at a time"):
        compact(config, now=NOW)


def test_an_empty_lake_has_nothing_to_merge(config: Settings) -> None:
    assert compact(config, now=NOW) == Compacted(0, 0, 0, 0, 0)
