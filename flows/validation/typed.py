"""Raw columns -> the contract's types, by DuckDB; what can't be read becomes null and is marked for the rules.

A mark is a further column that the expectations look at: `timestamp_form` says how a time was written,
`<column>_readable` whether a number or map was one. Nothing is rejected here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo import schema as s
from flows.connectors.base import BEHAVIOUR
from flows.connectors.text_map import as_text, text_map

TIME_FORM: Final = f"{s.TIMESTAMP}_form"
ISO, SECONDS, MILLISECONDS, UNREADABLE = "iso", "seconds", "milliseconds", "unreadable"
TOO_LARGE_SECONDS: Final = 1e11
"""Epoch seconds of the year 5138; a larger number is milliseconds (of 1973 and later) or finer."""
NUMBERS: Final = (s.QUANTITY, s.PRICE, s.VALUE, s.POSITION)
_UTC = pa.timestamp("us", tz="UTC")


def readable(column: str) -> str:
    """Name of the mark that says whether a column's raw value could be read."""
    return f"{column}_readable"


def typed_events(con: duckdb.DuckDBPyConnection, raw: pa.Table, behaviours: Mapping[str, str]) -> pa.Table:
    """A raw chunk of events in the contract's types.

    Args:
        con: a connection whose time zone is UTC.
        raw: columns under the contract's names; needs user, item, type (or `behavior`) and timestamp.
        behaviours: value of `behavior` -> event type.

    Returns:
        Every column of `schema.EVENTS` but the batch id, and the marks, in the same row order. Without `event_id` in
        `raw` it is a hash of user, item, type, time and session, so that the same event gets the same id again.
    """
    raw = _plain(raw)
    columns = dict(zip(raw.column_names, raw.columns, strict=True))
    if BEHAVIOUR in columns:
        columns[s.EVENT_TYPE] = _translated(columns.pop(BEHAVIOUR), behaviours)
    context = columns.pop(s.CONTEXT, None)
    table = pa.table(columns)
    select = [f"{_text(table, name)} AS {name}" for name in _texts(s.EVENTS) if name in columns]
    select += _numbers(table) + _time(table)
    typed = _run(con, table, select)
    if s.EVENT_ID not in columns:
        typed = typed.append_column(s.EVENT_ID, _derived_ids(con, typed, as_text(columns[s.TIMESTAMP])))
    if context is not None:
        typed = _with_map(typed, s.CONTEXT, context)
    return _complete(typed, s.EVENTS, without=s.BATCH_ID)


def typed_table(con: duckdb.DuckDBPyConnection, raw: pa.Table, schema: pa.Schema) -> pa.Table:
    """A raw items or users table in the contract's types; columns beyond the contract go into `attributes`."""
    raw = _plain(raw)
    ours = raw.select([name for name in raw.column_names if name in schema.names and name != s.ATTRIBUTES])
    select = [f"{_text(ours, name)} AS {name}" for name in _texts(schema) if name in ours.column_names]
    typed = _run(con, ours, select + _numbers(ours) + _time(ours))
    others = {name: raw.column(name) for name in raw.column_names if name not in schema.names}
    if s.ATTRIBUTES in raw.column_names:
        typed = _with_map(typed, s.ATTRIBUTES, raw.column(s.ATTRIBUTES))
    elif others:
        typed = typed.append_column(s.ATTRIBUTES, text_map(others, raw.num_rows))
    return _complete(typed, schema)


def _texts(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type) and field.name != s.BATCH_ID]


def _plain(raw: pa.Table) -> pa.Table:
    """Dictionaries decoded, times in UTC microseconds (naive ones are UTC), columns of nulls as text."""
    for index, field in enumerate(raw.schema):
        column, kind = raw.column(index), field.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        elif pa.types.is_null(kind):
            column = column.cast(pa.string())
        elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            if pa.types.is_date(kind) or kind.tz is None:
                column = column.cast(pa.timestamp("us"), safe=False)
            column = column.cast(_UTC, safe=False)
        if column is not raw.column(index):
            raw = raw.set_column(index, field.name, column)
    return raw


def _translated(behaviour: pa.ChunkedArray, behaviours: Mapping[str, str]) -> pa.Array:
    theirs = as_text(behaviour)
    found = pc.index_in(theirs, pa.array(list(behaviours), pa.string()))
    return pc.coalesce(pa.array(list(behaviours.values()), pa.string()).take(found), theirs)


def _run(con: duckdb.DuckDBPyConnection, table: pa.Table, select: list[str]) -> pa.Table:
    con.register("raw_rows", table)
    try:
        return con.sql(f"SELECT {', '.join(select)} FROM raw_rows").to_arrow_table()
    finally:
        con.unregister("raw_rows")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _text(table: pa.Table, name: str) -> str:
    """Blank is null; a float that is whole loses its ".0": pandas writes integer ids so when one is missing."""
    kind = table.schema.field(name).type
    if _is_text(kind):
        return f"CASE WHEN trim({name}) <> '' THEN {name} END"
    if pa.types.is_floating(kind):
        whole = f"isfinite({name}) AND {name} = trunc({name}) AND abs({name}) < 9e15"
        return f"CASE WHEN isnan({name}) THEN NULL WHEN {whole} THEN {name}::BIGINT::VARCHAR ELSE {name}::VARCHAR END"
    return f"{name}::VARCHAR"


def _numbers(table: pa.Table) -> list[str]:
    select = []
    for name in (n for n in NUMBERS if n in table.column_names):
        target = "INTEGER" if name == s.POSITION else "DOUBLE"
        if pa.types.is_floating(table.schema.field(name).type):
            select.append(f"CASE WHEN NOT isnan({name}) THEN TRY_CAST({name} AS {target}) END AS {name}")
            continue
        number = f"TRY_CAST({name} AS DOUBLE)"
        select.append(f"CASE WHEN isfinite({number}) THEN TRY_CAST({number} AS {target}) END AS {name}")
        if _is_text(table.schema.field(name).type):
            select.append(
                f"(coalesce(trim({name}), '') = '' OR coalesce(isfinite({number}), false)) AS {readable(name)}"
            )
    return select


def _time(table: pa.Table) -> list[str]:
    if s.TIMESTAMP not in table.column_names:
        return []
    kind, t = table.schema.field(s.TIMESTAMP).type, s.TIMESTAMP
    if pa.types.is_timestamp(kind):
        return [t]
    seconds = f"TRY_CAST({t} AS DOUBLE)"
    iso = f"TRY_CAST({t} AS TIMESTAMPTZ)" if _is_text(kind) else "NULL::TIMESTAMPTZ"
    missing = f"{t} IS NULL" + (f" OR trim({t}) = ''" if _is_text(kind) else "")
    form = (
        f"CASE WHEN {missing} THEN NULL "
        f"WHEN isfinite({seconds}) AND abs({seconds}) >= {TOO_LARGE_SECONDS} THEN '{MILLISECONDS}' "
        f"WHEN isfinite({seconds}) THEN '{SECONDS}' "
        f"WHEN isfinite({iso}) THEN '{ISO}' ELSE '{UNREADABLE}' END"
    )
    from_seconds = f"make_timestamptz(round({seconds} * 1e6)::BIGINT)"
    time = f"CASE {form} WHEN '{SECONDS}' THEN {from_seconds} WHEN '{ISO}' THEN {iso} END"
    return [f"{time} AS {t}", f"{form} AS {TIME_FORM}"]


def _derived_ids(con: duckdb.DuckDBPyConnection, typed: pa.Table, raw_time: pa.Array) -> pa.ChunkedArray:
    session = s.SESSION_ID if s.SESSION_ID in typed.column_names else "NULL"
    parts = [s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, f"coalesce(epoch_us({s.TIMESTAMP})::VARCHAR, raw_time)", session]
    joined = ", ".join(f"coalesce({part}, '')" for part in parts)
    table = typed.append_column("raw_time", raw_time)
    return _run(con, table, [f"md5(concat_ws(chr(31), {joined})) AS {s.EVENT_ID}"]).column(0)


def _with_map(typed: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    kind = column.type
    if pa.types.is_map(kind):
        return typed.append_column(name, column.cast(pa.map_(pa.string(), pa.string())))
    if pa.types.is_struct(kind):
        struct = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)
        return typed.append_column(name, text_map(dict(zip(kind.names, struct.flatten(), strict=True)), len(column)))
    maps = [_parsed(value) for value in as_text(column).to_pylist()]
    values = [list(found.items()) if found is not None else None for found in maps]
    typed = typed.append_column(name, pa.array(values, pa.map_(pa.string(), pa.string())))
    return typed.append_column(readable(name), pa.array([found is not None for found in maps]))


def _parsed(text: str | None) -> dict[str, str] | None:
    """A JSON object as a map of text; None if it is something else."""
    if text is None or not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in value.items() if v is not None}


def _complete(typed: pa.Table, schema: pa.Schema, without: str | None = None) -> pa.Table:
    """Columns of the schema in its order, null where the source has none, then the marks."""
    columns = {}
    for field in schema:
        if field.name == without:
            continue
        present = field.name in typed.column_names
        column = typed.column(field.name) if present else pa.nulls(typed.num_rows, field.type)
        columns[field.name] = column.cast(field.type)
    marks = {name: typed.column(name) for name in typed.column_names if name not in schema.names}
    return pa.table(columns | marks)
