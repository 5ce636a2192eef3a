"""More events than are in memory at once: the same values, from pieces on disk, and nothing of them left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.equal_tables import compare
from feature_repo import schema as s
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.engines.scratch import scratch_folder
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.snapshots import compute
from infra.settings import PROJECT_ROOT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = 900


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Users with many events and with one, items with and without a category, impressions, and what comes later."""
    kinds = (s.VIEW, s.PURCHASE, s.CART, s.IMPRESSION)
    events = [
        {
            s.EVENT_ID: f"e{n}",
            s.USER_ID: f"u{n % 7 if n % 3 else n}",
            s.ITEM_ID: f"i{n % 11}",
            s.EVENT_TYPE: kinds[n % 5 % 4],
            s.TIMESTAMP: NOW + timedelta(days=2) - timedelta(hours=5 * n),
            s.PRICE: 1 + n / 7,
            s.CONTEXT: [(s.DISCOUNT, "0.5")] if n % 2 else None,
        }
        for n in range(EVENTS)
    ]
    items = [{s.ITEM_ID: f"i{n}", s.CATEGORY: f"c{n % 3}", s.TIMESTAMP: s.BEGINNING} for n in range(8)]
    folder = tmp_path / "home's lake"  # a name that SQL must not stumble over
    (folder / "events").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(events, schema=s.EVENTS), folder / "events" / "0.parquet")
    pq.write_table(pa.Table.from_pylist(items, schema=s.ITEMS), folder / "items.parquet")
    return Lake(folder)


@pytest.mark.parametrize("slice_events", [50, 400])
def test_the_values_are_those_of_one_piece(lake: Lake, tmp_path: Path, slice_events: int) -> None:
    features, moments = list(discover().values()), [NOW - timedelta(days=40), NOW]
    scratch = tmp_path / "some one's scratch"
    compute(DuckDBEngine(lake), lake, features, moments, tmp_path / "whole")
    cut = DuckDBEngine(lake, slice_events=slice_events, scratch=scratch)
    compute(cut, lake, features, moments, tmp_path / "pieces")
    names = sorted(str(file.relative_to(tmp_path / "whole")) for file in (tmp_path / "whole").rglob("*.parquet"))
    assert len(names) > len(features)
    assert names == sorted(str(f.relative_to(tmp_path / "pieces")) for f in (tmp_path / "pieces").rglob("*.parquet"))
    for name in names:
        ours, theirs = (pq.read_table(tmp_path / which / name) for which in ("whole", "pieces"))
        found = compare(ours, theirs, ours.column_names[:2])
        assert (found.rows, found.differences) == (theirs.num_rows, 0), (name, found.examples)
    assert list(scratch.glob("*")) == [scratch / ".lock"]


def test_a_shop_that_only_shows_has_no_history(lake: Lake, tmp_path: Path) -> None:
    [file] = (lake.root / "events").glob("*.parquet")
    shown = [{**row, s.EVENT_TYPE: s.IMPRESSION} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(shown, schema=s.EVENTS), file)
    engine = DuckDBEngine(lake, slice_events=50, scratch=tmp_path / "scratch")
    features = [discover()[name] for name in ("session", "user_activity")]
    assert compute(engine, lake, features, [NOW], tmp_path / "pieces") == {"session": 0, "user_activity": 0}


def test_nobody_cleans_while_a_folder_is_made(tmp_path: Path) -> None:
    """One whose lock is not yet taken would be removed as left."""

    def make() -> None:
        with scratch_folder(tmp_path) as folder:
            (folder / "work").touch()

    with (tmp_path / ".lock").open("a") as handle, ThreadPoolExecutor(1) as others:
        fcntl.flock(handle, fcntl.LOCK_EX)  # somebody makes one
        other = others.submit(make)
        with pytest.raises(TimeoutError):
            other.result(timeout=0.3)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        handle.close()
        other.result(timeout=30)


def test_what_a_killed_run_left_goes_and_what_is_at_work_stays(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from feature_repo.engines.scratch import scratch_folder
        with scratch_folder(Path(sys.argv[1])) as folder:
            print(folder, flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path):
            assert left.is_dir()
        os.kill(process.pid, signal.SIGKILL)
    with scratch_folder(tmp_path) as ours:
        assert list(tmp_path.glob("cut-*")) == [ours]
