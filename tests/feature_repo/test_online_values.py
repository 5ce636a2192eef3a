"""What DuckDB computes as it is stored online, for every type that a feature may have."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest
from feast.type_map import feast_value_type_to_python_type
from feast.types import Array, Bool, Bytes, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from feature_repo.checks import HELD
from feature_repo.errors import UnheldValueError
from feature_repo.online_values import column_values, encoded_rows, feast_value, python_value, rows_of

AT = datetime(2024, 1, 1, tzinfo=UTC)
VALUES: dict[FeastType, tuple[str, object]] = {
    String: ("'ä'", "ä"),
    Bool: ("true", True),
    Int32: ("-3::INTEGER", -3),
    Int64: ("(2 ** 53)::BIGINT + 1", 2**53 + 1),
    Float32: ("0.5::FLOAT", 0.5),
    Float64: ("0.1::DOUBLE", 0.1),
    UnixTimestamp: ("TIMESTAMPTZ '2024-01-01 00:00:00+00'", int(AT.timestamp())),
    Bytes: ("'ab'::BLOB", b"ab"),
}


def test_there_is_a_value_of_every_type() -> None:
    assert set(VALUES) == set(HELD.values())


@pytest.mark.parametrize("kind", VALUES, ids=str)
@pytest.mark.parametrize("is_list", [False, True])
def test_stream_and_batch_store_the_same(kind: FeastType, is_list: bool) -> None:
    sql, plain = VALUES[kind]
    declared, sql, expected = (Array(kind), f"[{sql}]", [plain]) if is_list else (kind, sql, plain)
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    rows_of_both = f"SELECT u AS user_id, TIMESTAMPTZ '{AT}' AS at, CASE u WHEN 'u' THEN {sql} END AS f"
    query = f"{rows_of_both} FROM (VALUES ('u'), ('v')) AS users (u)"
    streamed = [column_values(column) for column in db.execute(query).fetchnumpy().values()]
    for rows in (
        list(encoded_rows(streamed, "user_id", {"f": declared})),
        list(rows_of(db.sql(query).to_arrow_table(), "user_id", "at", {"f": declared})),
    ):
        assert [at for _, _, at, _ in rows] == [AT, AT]
        assert [python_value(row["f"]) for _, row, _, _ in rows] == [expected, None]
        for _, row, _, _ in rows:
            ours, feasts = feast_value(row["f"]), feast_value_type_to_python_type(row["f"])
            assert (ours, type(ours)) == (feasts, type(feasts))


def test_a_list_with_a_null_is_told_with_its_field() -> None:
    with pytest.raises(UnheldValueError, match=r"feature f: a value is not of the type .*Lists hold no nulls"):
        list(encoded_rows([["u"], [AT], [["a", None]]], "user_id", {"f": Array(String)}))
