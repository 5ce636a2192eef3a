"""The point-in-time join of one view, as SQL.

It runs in two steps, so nothing grows beyond the entity frame and the view. The first sorts whole numbers alone: a
code for the key, the time, and where the row stands in the files. The second reads the features once and picks the
rows that the first one found: features that nobody asks for are never sorted, however wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import duckdb

from feature_repo.offline_store import times
from feature_repo.offline_store.connection import ident, idents
from feature_repo.offline_store.entities import TABLE, Entities
from feature_repo.offline_store.errors import EntityFrameError
from feature_repo.offline_store.sources import FILE_OF_POSITION, POSITION, Source

LARGEST: Final = 2**63 - 1
NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
                  "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip


@dataclass(frozen=True)
class View:
    """What one feature view brings to a point-in-time join."""

    name: str
    source: Source
    timestamp: str
    created: str | None
    """The column that breaks ties: of rows with one key and time, the one created last counts."""
    keys: Mapping[str, str]
    """Key of the view to column of the entity frame; empty for a view without entities."""
    features: Mapping[str, str]
    """Feature to column of the result."""
    ttl: timedelta | None
    created_by_then: bool
    """Only rows created not later than the entity row's moment count."""


def join(con: duckdb.DuckDBPyConnection, entities: Entities, view: View, into: str) -> None:
    """Write a temporary table with the view's features: one row per entity row, in the same order.

    Raises:
        EntityFrameError: a join key is missing, or a string on one side and a number on the other.
        SourceError: the source lacks a column.
    """
    _check_keys(entities, view)
    unit = times.unit_of(entities.time_type, *(view.source.type_of(name) for name in _time_columns(view)))
    con.execute(f"CREATE OR REPLACE TEMP TABLE found AS {_found(entities, view, unit)}")
    # Files without a row that was found are not opened: a frame of one moment needs one snapshot of many.
    files = con.execute(f"SELECT DISTINCT {FILE_OF_POSITION} FROM found WHERE position IS NOT NULL").fetchall()
    some = f"file_index IN ({', '.join(str(number) for (number,) in files)})" if files else "false"
    # The smaller side of the join is in memory, the source runs past it; rows that found nothing come with nulls.
    con.execute(
        f"""
        CREATE TEMP TABLE {into} AS
        SELECT {idents(list(view.features.values()), of="s")}
        FROM (SELECT {view.source.select(view.features)}, {POSITION} AS position FROM {view.source.sql} WHERE {some}) s
        RIGHT JOIN found f ON s.position = f.position
        ORDER BY f.at_row
        """
    )
    con.execute("DROP TABLE found")


def _time_columns(view: View) -> Sequence[str]:
    return [view.timestamp, view.created] if view.created else [view.timestamp]


def _check_keys(entities: Entities, view: View) -> None:
    for key, column in view.keys.items():
        kinds = entities.type_of(column), view.source.type_of(key)
        text, number = (any(kind.startswith(names) for kind in kinds) for names in (("VARCHAR", "ENUM"), NUMBERS))
        if text and number:
            raise EntityFrameError(
                f"join key {column!r} is {kinds[0]} in the entity frame and {kinds[1]} in the source of view "
                f"{view.name!r}: cast the frame's column"
            )


def _found(entities: Entities, view: View, unit: times.Unit) -> str:
    """SQL of pairs: every row of the entity frame, and the position of the row that was true for it, or null."""
    keys = list(view.keys.values())
    # Without a moment there is no code: a struct that holds a null would compare as larger than all others.
    same = " AND ".join(
        [*(f"e.{ident(key)} = a.{ident(key)}" for key in keys), f"e.{ident(entities.timestamp)} IS NOT NULL"]
    )
    present = " AND ".join(f"{ident(key)} IS NOT NULL" for key in keys) or "true"
    return f"""
        WITH asked AS MATERIALIZED (
            SELECT *, (row_number() OVER ())::UINTEGER AS code
            FROM (SELECT DISTINCT {idents(keys) or "0 AS nobody"} FROM {TABLE} WHERE {present})
        ), moments AS (
            SELECT e.rowid AS at_row, code, {entities.epoch(unit)} AS t FROM {TABLE} e LEFT JOIN asked a ON {same}
        ), known AS (
            {_known(entities, view, unit)}
        )
        {_newest_known_then(view, unit) if view.created and view.created_by_then else _newest(view, unit)}
        """


def _newest(view: View, unit: times.Unit) -> str:
    if view.created:
        order, last = f"row(t, coalesce(created, {-LARGEST}), position)", f"row(t, {LARGEST}, {LARGEST})"
    else:  # the same as one number, which sorts faster
        order, last = f"t::HUGEINT * {LARGEST + 1} + position", f"t::HUGEINT * {LARGEST + 1} + {LARGEST}"
    return f"""
        SELECT m.at_row, {_unless_expired("k.position", "k.t", view, unit)} AS position
        FROM (SELECT *, {last} AS o FROM moments) m
        ASOF LEFT JOIN (SELECT *, {order} AS o FROM known) k ON m.code = k.code AND m.o >= k.o
        """


def _newest_known_then(view: View, unit: times.Unit) -> str:
    """A row is known from the later of its time and its creation on.

    What is newest among the known is a running maximum over that moment, so this too is an as-of join.
    """
    return f"""
        SELECT m.at_row, {_unless_expired("k.newest.position", "k.newest.t", view, unit)} AS position
        FROM moments m
        ASOF LEFT JOIN (
            SELECT code, greatest(t, created) AS since,
                   max({{'t': t, 'created': created, 'position': position}})
                       OVER (PARTITION BY code ORDER BY greatest(t, created)) AS newest
            FROM known WHERE created IS NOT NULL
        ) k ON m.code = k.code AND m.t >= k.since
        """


def _unless_expired(position: str, t: str, view: View, unit: times.Unit) -> str:
    # As in Feast, a ttl of zero means none. The newest row expires last: where it has, so have the others.
    return f"CASE WHEN m.t <= {t} + {times.length(view.ttl, unit)} THEN {position} END" if view.ttl else position


def _known(entities: Entities, view: View, unit: times.Unit) -> str:
    """SQL of the source's rows that any entity row could see: code, time, creation, position."""
    source = view.source

    def epoch(name: str) -> str:
        return times.epoch(ident(source.column(name)), source.type_of(name), unit)

    column, kind = ident(source.column(view.timestamp)), source.type_of(view.timestamp)
    where = f"{column} IS NOT NULL"
    if entities.span:
        oldest, newest = entities.span
        where += f" AND {times.at_most(column, kind, newest)}"
        if view.ttl:
            where += f" AND {times.at_least(column, kind, oldest - times.length(view.ttl, 'us'))}"
    same = " AND ".join(f"s.{ident(source.column(key))} = a.{ident(name)}" for key, name in view.keys.items())
    return f"""
        SELECT code, {epoch(view.timestamp)} AS t, {epoch(view.created) if view.created else "NULL"} AS created,
               {POSITION} AS position
        FROM {source.sql} s JOIN asked a ON {same or "true"}
        WHERE {where}
        """
