"""The spark connector on a local Spark: what Spark reads arrives under our names, in chunks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.connectors import connector
from flows.errors import BrokenFileError, MissingColumnError, SourceMissingError
from flows.ingest import ingest
from infra.settings import settings

NOW = datetime(2024, 3, 1, tzinfo=UTC)
AT = datetime(2024, 2, 1, 8, 0, 0, 123456, UTC)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder partitioned by day, as data lakes have them."""
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    folder = tmp_path_factory.mktemp("lake")
    for day in (1, 2, 3):
        rows = {"visitor": [f"u{day}", "u9"], "item_id": ["a", "b"], "event_type": ["cart", "purchase"]}
        table = pa.table({**rows, "timestamp": pa.array([AT.replace(day=day)] * 2, pa.timestamp("us", "UTC"))})
        (folder / "events" / f"day={day}").mkdir(parents=True)
        pq.write_table(table, folder / "events" / f"day={day}" / "part.parquet")
    stop_spark()  # a process has one Spark, and it keeps its folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAIROS_HOME", str(folder / "home"))
        patch.setenv("KAIROS_SPARK_MASTER", "local[1]")
        settings.cache_clear()
        yield folder
    settings.cache_clear()
    stop_spark()


def stop_spark() -> None:
    from pyspark import SparkContext

    if SparkContext._active_spark_context:
        SparkContext._active_spark_context.stop()


def test_a_partitioned_folder_is_ingested(lake: Path) -> None:
    source = connector("spark", path=str(lake / "events"), columns={"user_id": "visitor"})
    assert source.notes() == [f"spark {lake}/events: columns that no event has are left out: 'day'"]
    chunks = list(source.chunks(1))
    assert [chunk.first_row for chunk in chunks] == [1, 2, 3, 4, 5, 6]
    report = ingest(source, settings(), now=NOW, progress=False)
    assert (report.accepted, report.rejected) == (6, 0)
    times = pq.read_table(settings().lake / "events")["timestamp"].to_pylist()
    assert {time.astimezone(UTC) for time in times} == {AT.replace(day=day) for day in (1, 2, 3)}
    assert not list(settings().staging.glob("spark_*"))


def test_what_is_missing_is_named(lake: Path) -> None:
    with pytest.raises(MissingColumnError, match="user_id"):
        connector("spark", path=str(lake / "events"))
    with pytest.raises(SourceMissingError, match="nowhere"):
        connector("spark", path=str(lake / "nowhere"))
    with pytest.raises(SourceMissingError, match="no_table"):
        connector("spark", path="no_table")
    with pytest.raises(SourceMissingError, match="a path of delta"):
        connector("spark", path=str(lake / "events"), format="delta")


def test_a_damaged_file_is_named(lake: Path) -> None:
    folder = lake / "damaged"
    shutil.copytree(lake / "events" / "day=1", folder)
    (folder / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(BrokenFileError, match="damaged"):
        list(connector("spark", path=str(folder), columns={"user_id": "visitor"}).chunks(10))
