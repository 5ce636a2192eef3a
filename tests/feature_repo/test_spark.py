"""Spark computes what DuckDB does: every feature, value by value, on a local cluster with workers of their own."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from feast import Entity, ValueType
from feast.types import Array, Float64, Int64, String
from ibis.expr.types import Table

from benchmarks.equal_tables import compare
from feature_repo import schema as s
from feature_repo.engines.base import Engine
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.engines.spark import SparkEngine
from feature_repo.engines.spark_session import new_session
from feature_repo.errors import SparkError
from feature_repo.event import Event, to_arrow
from feature_repo.feature import MOMENT, RECENCY, Feature
from feature_repo.features import discover
from feature_repo.lake import Lake
from feature_repo.manifest import Manifest
from feature_repo.store import Features
from flows.connectors.complete_journey import CompleteJourney
from infra.settings import Settings

CLUSTER = "local-cluster[2,1,1024]"
"""Two workers, each a Java process with one core and 1024 MB."""
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
QUICK = [
    *(f"--conf 'spark.{process}.extraJavaOptions={JAVA}'" for process in ("driver", "executor")),
    "--conf spark.sql.shuffle.partitions=4",
]
"""Java that starts soon instead of running fast, and no two hundred files for a handful of rows."""
NOW = datetime(2018, 1, 1, 4, 1, 20, 123_457, tzinfo=UTC)
DAY = timedelta(days=1)
US = timedelta(microseconds=1)
DISCOUNTS = [
    "",
    "0",
    "1.5",
    " 2 ",
    "-1",
    "1e-3",
    "1_0",
    ".5",
    "5.",
    "nan",
    "inf",
    "1.5d",
    "0x10",
    "1,5",
    "٣",
    "1\n",
    "x",
]
IDS = [
    "naïve ω",
    "用户",
    "it's",
    'a "b"',
    "back\\slash",
    "Z",
    "a",
    "É",
    "1",
    "01",
    "☃" * 128,
    "\t",
    "NULL",
    "nan",
    "$x",
]


@dataclass(frozen=True)
class Cluster:
    """A Spark cluster on this machine, and the folder that was the current one when it was started."""

    master: str
    started_in: Path
    folder: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not shutil.which("java"):
        missing = "Java is not on the PATH: install openjdk-17-jre-headless"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    import pyspark

    # Workers make their folders under Spark's home.
    home, started_in = tmp_path_factory.mktemp("spark_home"), tmp_path_factory.mktemp("started_in")
    for part in Path(pyspark.__file__).parent.iterdir():
        (home / part.name).symlink_to(part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(home))
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"{' '.join(QUICK)} pyspark-shell")
        patch.chdir(started_in)
        yield Cluster(CLUSTER, started_in, tmp_path_factory.mktemp("spark"))
        if pyspark.SparkContext._active_spark_context:
            pyspark.SparkContext._active_spark_context.stop()


def test_every_feature_is_tested(both: Mapping[str, tuple[pa.Table, pa.Table]]) -> None:
    assert set(discover()) < set(both)
    assert all(ours.num_rows for ours, _ in both.values())


@pytest.mark.parametrize("name", [*discover(), "disagreements"])
def test_the_engines_agree(name: str, both: Mapping[str, tuple[pa.Table, pa.Table]]) -> None:
    ours, theirs = both[name]
    assert [(f.name, f.type) for f in ours.schema] == [(f.name, f.type) for f in theirs.schema]
    result = compare(ours, theirs, ours.column_names[:2])
    assert result.values
    assert not result.differences, result.examples


def test_the_setting_chooses_the_engine(cluster: Cluster, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", engine="spark", spark_master=cluster.master)
    (settings.lake / "events").mkdir(parents=True)
    pq.write_table(to_arrow([_event("u", "a", NOW - DAY)]), settings.lake / "events" / "1.parquet")
    features = Features.open(settings)
    assert features.compute([NOW], only=["session", "item_catalogue"]) == {"session": 1, "item_catalogue": 0}
    [snapshot] = (settings.features / "session").glob("*.parquet")
    manifest = Manifest.of(snapshot)
    assert manifest is not None
    assert manifest.engine == "spark"
    assert pq.read_table(snapshot)["session_items"].to_pylist() == [["a"]]
    assert {path.suffix for path in snapshot.parent.iterdir()} == {".parquet", ".json"}


def test_files_from_before_a_column_was_in_the_contract(cluster: Cluster, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.events_folder.mkdir(parents=True)
    new = to_arrow([_event("u", "b", NOW - DAY, context={"discount": "0.5"})])
    old = to_arrow([_event("u", "a", NOW - 2 * DAY)]).drop_columns([s.CONTEXT, s.VARIANT])
    for name, rows in (("1", old), ("2", new)):
        pq.write_table(rows, lake.events_folder / f"{name}.parquet")
    lake.prepare()
    with SparkEngine(lake, cluster.master, cluster.folder).cut(NOW, ["events"]) as cut:
        events = cut.tables["events"]
        cut.write(events.select(s.ITEM_ID, s.DISCOUNT, MOMENT), tmp_path / "rows.parquet")
    found = pq.read_table(tmp_path / "rows.parquet").sort_by(s.ITEM_ID)
    assert found[s.DISCOUNT].to_pylist() == [None, 0.5]


def test_nothing_is_left_in_the_current_folder(cluster: Cluster, both: object) -> None:
    assert not list(cluster.started_in.iterdir())
    assert (cluster.folder / "spark.log").exists()


def test_what_spark_cannot_do_is_one_error(cluster: Cluster, lake: Lake, tmp_path: Path) -> None:
    with SparkEngine(lake, cluster.master, cluster.folder).cut(None, ["users"]) as cut:
        users = cut.tables["users"].mutate(**{MOMENT: cut.tables["users"][s.TIMESTAMP]})
        with pytest.raises(SparkError, match=r"cannot run on Spark: .*urtosis"):
            cut.write(users.group_by(MOMENT).agg(x=users[s.USER_ID].length().kurtosis()), tmp_path / "x")
        with pytest.raises(SparkError, match=r"Spark failed: .*CAST_INVALID_INPUT.*spark\.log"):
            cut.write(users.mutate(x=users[s.USER_ID].cast("int64")), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_without_java_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pyspark.SparkContext._active_spark_context", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SparkError, match=r"no bin/java: install openjdk"):
        new_session("local", tmp_path)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SparkError, match=r"no java on the PATH .* install openjdk"):
        new_session("local", tmp_path)


def test_without_pyspark_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(SparkError, match=r"pip install 'kairos-recsys\[spark\]'"):
        new_session("local", tmp_path)


# -- the data: a slice of the real, and what is nasty about events -------------------------------------


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    (lake.root / "events").mkdir()
    connector = CompleteJourney(households=3)
    real = [chunk.rows for chunk in connector.chunks(100_000)]
    seen = pa.concat_tables(real)[s.ITEM_ID].unique()
    catalogue = connector.items()
    catalogue = catalogue.filter(pc.is_in(catalogue[s.ITEM_ID], seen))
    files = {
        "events/real.parquet": (real, s.EVENTS),
        "events/nasty.parquet": ([to_arrow(_nasty_events())], s.EVENTS),
        "items.parquet": ([catalogue, pa.Table.from_pylist(_nasty_items(), s.ITEMS)], s.ITEMS),
        "users.parquet": ([connector.users(), pa.Table.from_pylist(_nasty_users(), s.USERS)], s.USERS),
    }
    for file, (tables, schema) in files.items():
        pq.write_table(pa.concat_tables(_in(schema, table) for table in tables), lake.root / file)
    return lake


def _in(schema: pa.Schema, table: pa.Table) -> pa.Table:
    columns = [table[f.name] if f.name in table.column_names else pa.nulls(table.num_rows, f.type) for f in schema]
    return pa.table(dict(zip(schema.names, columns, strict=True))).cast(schema)


def _event(user: str, item: str, at: datetime, kind: str = "purchase", **more: Any) -> Event:
    return Event(
        event_id=uuid.uuid5(uuid.NAMESPACE_OID, f"{user} {item} {at.isoformat()} {kind}").hex,
        user_id=user,
        item_id=item,
        event_type=kind,  # type: ignore[arg-type]
        timestamp=at,
        **more,
    )


def _nasty_events() -> list[Event]:
    ages = [0 * DAY, US, 7 * DAY - US, 7 * DAY, 30 * DAY, 90 * DAY - US, 90 * DAY, 4000 * DAY]
    leap = datetime(2016, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    at = {"one moment": NOW - 3 * DAY, "leap": leap, "beginning": s.BEGINNING}
    return [
        *(_event("edges", f"e{kind}{n % 3}", NOW - age, kind) for n, age in enumerate(ages) for kind in s.EVENT_TYPES),
        *(_event("edges", "future", NOW + late, kind) for late in (US, DAY) for kind in s.EVENT_TYPES),
        *(_event(name, "leap", when, "rating", value=2.5) for name, when in at.items()),
        *(_event(user, item, NOW - DAY, price=1.1, value=0.3) for user in IDS for item in IDS),
        # Many of one moment, told apart by their ids alone, and more than the lists hold.
        *(_event("many", f"m{n}", NOW - n % 3 * DAY, value=n / 7) for n in range(450)),
        *(_event("many", f"m{n}", NOW - 40 * DAY - n % 7 * DAY, price=n / 3, quantity=2.5) for n in range(300)),
        # The same terms in another order: equal sums but for the last digit.
        *(_event("ties", item, NOW - n * 37 * US - n * DAY) for item in "ba" for n in _turned(item, range(50))),
        *(_event("discounts", f"d{n % 5}", NOW - n * DAY, context={"discount": d}) for n, d in enumerate(DISCOUNTS)),
        *(_event("discounts", "other", NOW - n * DAY, context={"n": "1"}) for n in range(3)),
        *(_event("worth", "w", NOW - n * DAY, value=v) for n, v in enumerate([0, -0.0, -3, 0.5, 1.5, 2.5, -2.5, 1e15])),
        *(_event("worth", "q", NOW - n * DAY, price=0.1, quantity=q) for n, q in enumerate([None, 0, 3, 1e-9])),
        _event("worth", "free", NOW - DAY, price=0.0, quantity=1),
        _event("only shown", "a", NOW - DAY, "impression"),
    ]


def _turned(item: str, numbers: range) -> list[int]:
    return list(reversed(numbers)) if item == "a" else list(numbers)


def _nasty_items() -> list[dict[str, Any]]:
    since = {s.TIMESTAMP: NOW - 900 * DAY}
    return [
        *({s.ITEM_ID: f"m{n}", s.CATEGORY: f"k{n % 60}", s.PRICE: n / 3, **since} for n in range(450)),
        *({s.ITEM_ID: item, s.NAME: item, s.CATEGORY: f"{item[:3]}é", **since} for item in IDS),
        {s.ITEM_ID: "w", **since},
        {s.ITEM_ID: "q", s.CATEGORY: "", **since},
        {s.ITEM_ID: "free", s.CATEGORY: "free", s.PRICE: 0.0, **since},
        {s.ITEM_ID: "leap", s.CATEGORY: "was", s.TIMESTAMP: NOW - 2 * US},
        {s.ITEM_ID: "leap", s.CATEGORY: "is", s.TIMESTAMP: NOW},
        {s.ITEM_ID: "leap", s.CATEGORY: "will be", s.TIMESTAMP: NOW + US},
    ]


def _nasty_users() -> list[dict[str, Any]]:
    return [
        {s.USER_ID: user, "region": None if n % 2 else user, s.TIMESTAMP: NOW - n * US} for n, user in enumerate(IDS)
    ]


def _disagreements(history: Table) -> Table:
    """What Ibis renders differently for the two, or leaves out for Spark, unless it is made to agree."""
    events = history.mutate(
        nearest=history[s.VALUE].fill_null(0.25).clip(-1e6, 1e6).cast("int64"),
        second=history[s.TIMESTAMP].epoch_seconds().cast("float64"),
        per_second=1 / (1 + history[s.TIMESTAMP].epoch_seconds()),
        microsecond=history[s.TIMESTAMP].microsecond().cast("int64"),
        weekday=history[s.TIMESTAMP].day_of_week.index().cast("int64"),
        is_known=ibis.ifelse(history[s.VALUE].fill_null(float("nan")).notnull(), 1, 0).cast("int64"),
    )
    shown = events.group_by(s.USER_ID, MOMENT).agg(none=events[s.ITEM_ID].collect(where=events[RECENCY] < 0))
    return events.left_join(shown, s.USER_ID).rename(event_key=s.EVENT_ID)


DISAGREEMENTS = Feature(
    name="disagreements",
    entity=Entity(name="event", join_keys=["event_key"], value_type=ValueType.STRING),
    reads="history",
    compute=_disagreements,
    fields={
        **dict.fromkeys(("nearest", "microsecond", "weekday", "is_known"), Int64),
        **dict.fromkeys(("second", "per_second"), Float64),
        "none": Array(String),
    },
    description="Of this test",
)


@pytest.fixture(scope="module")
def both(
    cluster: Cluster, lake: Lake, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[pa.Table, pa.Table]]:
    """Every feature as DuckDB computes it, and as Spark does."""
    engines: list[Engine] = [DuckDBEngine(lake), SparkEngine(lake, cluster.master, cluster.folder)]
    features = [*discover().values(), DISAGREEMENTS]
    found: list[dict[str, pa.Table]] = []
    for engine in engines:
        into = tmp_path_factory.mktemp(engine.name)
        with engine.cut(NOW, [feature.reads for feature in features]) as cut:
            for feature in features:
                cut.write(feature.expression(cut.tables[feature.reads]), into / feature.name)
        found.append({feature.name: pq.read_table(into / feature.name) for feature in features})
    return {name: (found[0][name], found[1][name]) for name in found[0]}
