"""A made-up shop of any number of events: its users and items grow with them, what a user does stays as much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb

EVENTS, NEXT, ITEMS, USERS = "events.parquet", "next.parquet", "items.parquet", "users.parquet"
EVENTS_PER_USER: Final = 60
EVENTS_PER_ITEM: Final = 600
CATEGORIES: Final = 200
NEXT_EVENTS: Final = 100_000
"""Of the batch that comes when the others are in the lake"""
DAYS: Final = 365
NEWEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOW: Final = NEWEST + timedelta(days=2)
"""What counts as the future when they are ingested"""
_REPEATED_AFTER: Final = 99_999
"""No multiple of a thousand: what is repeated is no repetition itself."""


def write_shop(folder: Path, events: int) -> None:
    """The files that a shop would hand over, written by DuckDB and never held whole.

    Half of the events are a tenth of the users', an item's share falls with the cube of its rank, and they come in the
    order of time. Of a thousand rows one has no item, and one repeats a row of before.
    """
    with duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(folder / "spill")}) as con:
        con.execute("SET TimeZone = 'UTC'")
        _write(con, _events(0, events, events), folder / EVENTS)
        _write(con, _events(events, events + NEXT_EVENTS, events), folder / NEXT)
        _write(con, _items(events // EVENTS_PER_ITEM), folder / ITEMS)
        _write(con, _users(events // EVENTS_PER_USER), folder / USERS)


def _write(con: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    con.execute(f"COPY ({query}) TO '{file}' (COMPRESSION zstd)")


def _events(first: int, last: int, all_events: int) -> str:
    """Rows of the short form; what a row holds is drawn by its number, so that the same shop comes out each time."""
    users, items = all_events // EVENTS_PER_USER, all_events // EVENTS_PER_ITEM
    heavy = max(users // 10, 1)
    past = f"((n::DOUBLE / {all_events} - 1) * {DAYS * 86_400})::BIGINT"
    second = f"{NEWEST.timestamp():.0f} + CASE WHEN n < {all_events} THEN {past} ELSE (n - {all_events}) // 2 END"
    repeats = f"r % 1000 = 1 AND r >= {first + _REPEATED_AFTER}"
    return f"""
        SELECT 'user-' || user AS user_id, CASE WHEN r % 1000 <> 0 THEN 'item-' || item END AS item_id,
            CASE WHEN kind < 0.7 THEN 'browse' WHEN kind < 0.85 THEN 'click' WHEN kind < 0.93 THEN 'cart'
            ELSE 'purchase' END AS behavior,
            second AS timestamp, 'session-' || user || '-' || second // 86400 AS session_id,
            CASE WHEN kind >= 0.93 THEN 1 END AS quantity, {_price("item")} AS price
        FROM (SELECT r, {_draw(1)} AS kind, {second} AS second,
                CASE WHEN {_draw(2)} < 0.5 THEN ({_draw(3)} * {heavy})::BIGINT % {heavy}
                ELSE {heavy} + ({_draw(3)} * {users - heavy})::BIGINT % {users - heavy} END AS user,
                ({_draw(4)} ** 3 * {items})::BIGINT % {items} AS item
            FROM (SELECT r, CASE WHEN {repeats} THEN r - {_REPEATED_AFTER} ELSE r END AS n
                FROM range({first}, {last}) rows(r)))
    """


def _items(items: int) -> str:
    return (
        f"SELECT 'item-' || i AS item_id, 'Item ' || i AS name, 'category-' || i % {CATEGORIES} AS category, "
        f"'brand-' || i % 1000 AS brand, {_price('i')} AS price FROM range({items}) items(i)"
    )


def _users(users: int) -> str:
    return (
        "SELECT 'user-' || u AS user_id, ['19-24', '25-34', '35-44', '45-54', '55+'][1 + u % 5] AS age_group, "
        f"'region-' || u % 20 AS region FROM range({users}) users(u)"
    )


def _price(item: str) -> str:
    return f"(1 + hash({item}) % 5000) / 100.0"


def _draw(number: int) -> str:
    """A row's own random number of [0, 1). By one number: the hashes of two differ from each other by a constant."""
    return f"(hash(n * 8 + {number}) / 18446744073709551616.0)"
