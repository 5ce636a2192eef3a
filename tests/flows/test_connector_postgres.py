"""The postgres connector against a real server: text under our names, chunks, only what is new, clear errors."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.connectors import Connector, connector
from flows.connectors.postgres import PostgresSource
from flows.errors import MissingColumnError, SourceDownError, SourceMissingError
from flows.ingest import ingest
from infra.settings import SettingsError, settings
from tests.feature_repo.servers import postgres_schema

NOW = datetime(2024, 3, 1, tzinfo=UTC)
SHOP = """
CREATE TABLE orders (
    id serial, visitor integer, item_id text, behavior text, timestamp timestamptz, price numeric(10, 2), note text);
INSERT INTO orders (visitor, item_id, behavior, timestamp, price, note) VALUES
    (7, 'a', 'buy', '2024-02-01 10:00:00.123456+02', 2.50, 'two
lines, and a comma'),
    (7, 'b', 'browse', '2024-02-01 11:00:00+02', NULL, NULL),
    (8, '', 'cart', '2024-02-02 00:00:00+00', 1.00, '');
CREATE TABLE products (item_id text, category text, colour text);
INSERT INTO products VALUES ('a', 'fruit', 'red'), ('b', NULL, 'blue');
"""
MAPPED = {"columns": {"user_id": "visitor"}, "behaviours": {"buy": "purchase"}}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A shop's database, named by KAIROS_SOURCE_URL."""
    with postgres_schema(f"test_{uuid.uuid4().hex[:12]}") as url:
        monkeypatch.setenv("KAIROS_SOURCE_URL", url)
        monkeypatch.setenv("KAIROS_HOME", str(tmp_path))
        settings.cache_clear()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SHOP)
            yield connection
    settings.cache_clear()


def rows_of(source: Connector, chunk_rows: int = 1_000) -> list[dict[str, object]]:
    return [row for chunk in source.chunks(chunk_rows) for row in chunk.rows.to_pylist()]


def test_rows_are_text_under_our_names_and_null_is_not_empty(shop: psycopg.Connection) -> None:
    source = connector("postgres", table="orders", **MAPPED)
    assert rows_of(source) == [
        {"user_id": "7", "item_id": "a", "behavior": "buy", "timestamp": "2024-02-01 08:00:00.123456+00",
         "price": "2.50"},
        {"user_id": "7", "item_id": "b", "behavior": "browse", "timestamp": "2024-02-01 09:00:00+00", "price": None},
        {"user_id": "8", "item_id": "", "behavior": "cart", "timestamp": "2024-02-02 00:00:00+00", "price": "1.00"},
    ]  # fmt: skip
    assert source.notes() == ["postgres orders: columns that no event has are left out: 'id', 'note'"]


def test_a_query_and_tables_beside_it(shop: psycopg.Connection) -> None:
    query = "SELECT visitor AS user_id, item_id, behavior, timestamp FROM orders WHERE visitor = 8;"
    source = PostgresSource(query=query, items="products")
    assert [row["user_id"] for row in rows_of(source)] == ["8"]
    items = source.items()
    assert items is not None
    assert items.to_pylist()[1] == {"item_id": "b", "category": None, "colour": "blue"}


@pytest.mark.parametrize("chunk_rows", [1, 7, 4_999, 5_000, 10_000])
def test_chunks_hold_so_many_rows_and_lose_none(shop: psycopg.Connection, chunk_rows: int) -> None:
    query = "SELECT n AS user_id, n AS item_id, 'cart' AS behavior, now() AS timestamp FROM generate_series(1, 5000) n"
    chunks = list(PostgresSource(query=query).chunks(chunk_rows))
    assert {chunk.rows.num_rows for chunk in chunks[:-1]} <= {chunk_rows}
    assert [chunk.first_row for chunk in chunks] == list(range(1, 5001, chunk_rows))
    users = pa.concat_tables([chunk.rows for chunk in chunks])["user_id"].to_pylist()
    assert users == [str(n) for n in range(1, 5001)]


def test_ingest_adds_what_is_valid_and_a_second_time_nothing(shop: psycopg.Connection) -> None:
    shop.execute("DELETE FROM orders WHERE item_id = ''")
    first = ingest(PostgresSource(table="orders", items="products", **MAPPED), settings(), now=NOW, progress=False)
    assert (first.accepted, first.rejected, first.items) == (2, 0, 2)
    again = ingest(PostgresSource(table="orders", items="products", **MAPPED), settings(), now=NOW, progress=False)
    assert (again.accepted, again.already_known) == (0, 2)
    events = pq.read_table(settings().lake / "events").to_pylist()
    assert {event["timestamp"] for event in events} == {
        datetime(2024, 2, 1, 8, 0, 0, 123456, UTC),
        datetime(2024, 2, 1, 9, tzinfo=UTC),
    }


def test_only_new_rows_are_read(shop: psycopg.Connection) -> None:
    shop.execute("DELETE FROM orders WHERE item_id = ''")

    def read() -> int:
        source = PostgresSource(table="orders", new_by="id", **MAPPED)
        return ingest(source, settings(), now=NOW, progress=False).read

    assert read() == 2
    assert read() == 0
    shop.execute("INSERT INTO orders (visitor, item_id, behavior, timestamp) VALUES (9, 'a', 'cart', '2024-02-03')")
    assert read() == 1


def test_what_was_read_but_not_committed_is_read_again(shop: psycopg.Connection) -> None:
    for _ in range(2):
        assert len(rows_of(PostgresSource(table="orders", new_by="id", **MAPPED))) == 3


def test_missing_names_are_named(shop: psycopg.Connection) -> None:
    with pytest.raises(SourceDownError, match=r"nowhere.*does not exist"):
        PostgresSource(table="nowhere")
    with pytest.raises(MissingColumnError, match="user_id"):
        PostgresSource(table="orders")
    with pytest.raises(MissingColumnError, match="serial"):
        PostgresSource(table="orders", new_by="serial", **MAPPED)
    with pytest.raises(SourceMissingError, match="--query"):
        PostgresSource()


def test_a_query_cannot_write(shop: psycopg.Connection) -> None:
    with pytest.raises(SourceDownError):
        PostgresSource(query="DELETE FROM orders RETURNING visitor AS user_id, item_id, behavior, timestamp")


@pytest.mark.parametrize("url", ["", "mysql://reader:secret@localhost/shop", "postgresql://reader:secret@[bad/shop"])
def test_a_wrong_url_is_named_without_its_password(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_SOURCE_URL", unquote(url))
    settings.cache_clear()
    with pytest.raises(SettingsError, match="KAIROS_SOURCE_URL") as refused:
        PostgresSource(table="orders")
    assert "secret" not in str(refused.value)
    settings.cache_clear()


def test_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_SOURCE_URL", "postgresql://reader:secret@127.0.0.1:1/shop")
    settings.cache_clear()
    with pytest.raises(SourceDownError, match=r"127\.0\.0\.1:1") as refused:
        PostgresSource(table="orders")
    assert "secret" not in str(refused.value)
    settings.cache_clear()
