"""Types and rules on one chunk, without a lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feature_repo import schema as s
from flows.errors import ValidationRunError
from flows.validation import rules
from flows.validation.checks import Checks
from flows.validation.typed import TIME_FORM, typed_events, typed_table

NOW = datetime(2017, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Checks:
    return Checks(tmp_path_factory.mktemp("gx"))


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def raw(**columns: object) -> pa.Table:
    rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    given = {s.USER_ID: ["u"] * rows, s.ITEM_ID: ["i"] * rows, s.EVENT_TYPE: ["view"] * rows, s.TIMESTAMP: ["1"] * rows}
    return pa.table(given | columns)


@pytest.mark.parametrize(
    ("written", "read", "form"),
    [
        ("1483271606", datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC), "seconds"),
        ("1483271606.25", datetime(2017, 1, 1, 11, 53, 26, 250_000, tzinfo=UTC), "seconds"),
        ("1483271606000", None, "milliseconds"),
        ("2017-01-01", datetime(2017, 1, 1, tzinfo=UTC), "iso"),
        ("2017-01-01T10:00:00Z", datetime(2017, 1, 1, 10, tzinfo=UTC), "iso"),
        ("2017-01-01T10:00:00+02:00", datetime(2017, 1, 1, 8, tzinfo=UTC), "iso"),
        ("2017-01-01 10:00:00 UTC", datetime(2017, 1, 1, 10, tzinfo=UTC), "iso"),
        ("9999-12-31", datetime(9999, 12, 31, tzinfo=UTC), "iso"),
        ("2017-02-30", None, "unreadable"),
        ("yesterday", None, "unreadable"),
        ("infinity", None, "unreadable"),
        ("nan", None, "unreadable"),
        (" ", None, None),
        (None, None, None),
    ],
)
def test_times(con: duckdb.DuckDBPyConnection, written: str | None, read: datetime | None, form: str | None) -> None:
    [row] = typed_events(con, raw(timestamp=pa.array([written], pa.string())), {}).to_pylist()
    assert (row[s.TIMESTAMP], row[TIME_FORM]) == (read, form)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime(2017, 1, 1)], pa.timestamp("ns")),  # noqa: DTZ001  (naive times are UTC)
        pa.array([datetime(2017, 1, 1, tzinfo=UTC)], pa.timestamp("ms", tz="Europe/Berlin")),
        pa.array([datetime(2017, 1, 1).date()]),  # noqa: DTZ001
        pa.array([1_483_228_800], pa.int64()),
        pa.array([1_483_228_800.0], pa.float64()),
    ],
    ids=["naive", "zone", "date", "int", "float"],
)
def test_typed_times(con: duckdb.DuckDBPyConnection, column: pa.Array) -> None:
    typed = typed_events(con, raw(timestamp=column), {})
    assert typed.schema.field(s.TIMESTAMP).type == pa.timestamp("us", tz="UTC")
    assert typed.column(s.TIMESTAMP)[0].as_py() == datetime(2017, 1, 1, tzinfo=UTC)


def test_ids_become_text_once(con: duckdb.DuckDBPyConnection) -> None:
    typed = typed_events(con, raw(user_id=[1.0, None, 2.5], item_id=pa.array([7, 8, 9])), {})
    assert typed.column(s.USER_ID).to_pylist() == ["1", None, "2.5"]
    assert typed.column(s.ITEM_ID).to_pylist() == ["7", "8", "9"]


def test_derived_id_is_the_same_however_the_time_is_written(con: duckdb.DuckDBPyConnection) -> None:
    written = ["2017-01-01T00:00:00Z", "1483228800", "2017-01-01T00:00:01Z", "garbage", "rubbish"]
    ids = typed_events(con, raw(timestamp=written), {}).column(s.EVENT_ID).to_pylist()
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    session = typed_events(con, raw(timestamp=written[:1], session_id=["a"]), {}).column(s.EVENT_ID)[0].as_py()
    assert session != ids[0]


def test_behaviours_are_translated_and_unknown_ones_stay(con: duckdb.DuckDBPyConnection) -> None:
    table = raw(behavior=["browse", "purchase", "sniff", None]).drop_columns([s.EVENT_TYPE])
    assert typed_events(con, table, s.BEHAVIOURS).column(s.EVENT_TYPE).to_pylist() == [
        "view", "purchase", "sniff", None,
    ]  # fmt: skip


def test_context_from_json_map_and_struct(con: duckdb.DuckDBPyConnection) -> None:
    texts = ['{"a": "x", "n": 1.5, "none": null}', "", "[1]", "{broken"]
    typed = typed_events(con, raw(context=texts), {})
    assert typed.column(s.CONTEXT).to_pylist() == [[("a", "x"), ("n", "1.5")], [], None, None]
    assert typed.column("context_readable").to_pylist() == [True, True, False, False]
    struct = typed_events(con, raw(context=[{"a": 1, "b": None}, {"a": None, "b": "y"}]), {})
    assert struct.column(s.CONTEXT).to_pylist() == [[("a", "1")], [("b", "y")]]


def test_columns_beyond_the_contract_become_attributes(con: duckdb.DuckDBPyConnection) -> None:
    typed = typed_table(con, pa.table({"item_id": ["a", "b"], "price": ["2.5", ""], "colour": ["red", None]}), s.ITEMS)
    assert typed.column(s.ATTRIBUTES).to_pylist() == [[("colour", "red")], []]
    assert typed.column(s.PRICE).to_pylist() == [2.5, None]


def broken_rules(checks: Checks, con: duckdb.DuckDBPyConnection, table: pa.Table) -> dict[str, list[int]]:
    frame = typed_events(con, table, s.BEHAVIOURS).drop_columns([s.CONTEXT]).to_pandas()
    findings = checks.run(frame, rules.event_suite(frame.columns, NOW))
    return {finding.rule: finding.rows.tolist() for finding in findings if len(finding.rows)}


LONG = "x" * 129
CASES = [
    ({"user_id": ["u", None, " "]}, {"user_id_required": [1, 2]}),
    ({"item_id": ["x" * 128, LONG]}, {"item_id_length": [1]}),
    ({"event_id": ["a", LONG, None]}, {"event_id_length": [1], "event_id_required": [2]}),
    ({"session_id": [LONG, None]}, {"session_id_length": [0]}),
    ({"event_type": ["view", "sniff"]}, {"event_type_allowed": [1]}),
    ({"timestamp": ["1", "soon", None]}, {"timestamp_readable": [1], "timestamp_required": [2]}),
    ({"timestamp": ["1483271606000", "1"]}, {"timestamp_in_seconds": [0]}),
    ({"timestamp": ["2017-06-01T00:04:59Z", "2017-06-01T00:05:01Z", "9999-01-01"]}, {"timestamp_not_future": [1, 2]}),
    ({"price": ["1", "-0.01", "cheap", "inf", ""]}, {"price_not_negative": [1], "price_readable": [2, 3]}),
    ({"price": pa.array([1.0, -1.0, float("inf"), None])}, {"price_not_negative": [1, 2]}),
    ({"quantity": ["-1", "0"]}, {"quantity_not_negative": [0]}),
    ({"value": ["-1", "many"]}, {"value_readable": [1]}),
    ({"context": ["{}", "nonsense"]}, {"context_readable": [1]}),
]


@pytest.mark.parametrize(("columns", "expected"), CASES, ids=[next(iter(e)) + str(n) for n, (_, e) in enumerate(CASES)])
def test_each_rule_finds_its_rows(
    checks: Checks, con: duckdb.DuckDBPyConnection, columns: dict[str, object], expected: dict[str, list[int]]
) -> None:
    assert broken_rules(checks, con, raw(**columns)) == expected


def test_copies_and_unknown_ids(checks: Checks) -> None:
    frame = pd.DataFrame({rules.IS_COPY: [False, True], rules.USER_KNOWN: [False, True]})
    [copy] = checks.run(frame, rules.unique_suite())
    [known] = checks.run(frame, rules.event_suite(frame.columns, NOW))
    assert (copy.rule, copy.rows.tolist(), copy.warning) == ("event_id_unique", [1], False)
    assert (known.rule, known.rows.tolist(), known.warning) == ("user_known", [0], True)


def test_a_rule_that_cannot_run_is_an_error_not_a_pass(checks: Checks) -> None:
    frame = pd.DataFrame({s.PRICE: ["a", 1.0, object()]})
    with pytest.raises(ValidationRunError, match="price_not_negative"):
        checks.run(frame, rules.event_suite(frame.columns, NOW))


def test_pages_show_the_sum_over_chunks(tmp_path: Path) -> None:
    checks = Checks(tmp_path / "gx")
    for prices in ([1.0, -1.0], [2.0, 3.0, -4.0]):
        frame = pd.DataFrame({s.PRICE: prices})
        checks.run(frame, rules.event_suite(frame.columns, NOW))
    index = checks.publish("batch-1", NOW + timedelta(days=1))
    assert index.is_file()
    assert "batch-1" in index.read_text()
    [page] = (index.parent / "validations" / "events").rglob("*.html")
    text = page.read_text()
    assert "2 unexpected values found. 40% of 5 total rows" in text.replace("≈", "")
    assert "-4" in text


def test_positions_come_in_the_order_of_the_frame(checks: Checks) -> None:
    prices = np.where(np.arange(2_000) % 7 == 0, -1.0, 1.0)
    frame = pd.DataFrame({s.PRICE: prices}, index=np.arange(2_000) + 50)
    [finding] = [f for f in checks.run(frame, rules.event_suite(frame.columns, NOW)) if f.rule == "price_not_negative"]
    assert finding.rows.tolist() == list(range(0, 2_000, 7))
