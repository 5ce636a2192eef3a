"""DuckDB in this process, in UTC, with the limits that the configuration names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cache

import duckdb


def connect(memory_limit: str | None, temp_directory: str | None, threads: int | None) -> duckdb.DuckDBPyConnection:
    """A connection whose temporary tables are its own. All of a process share the limits."""
    con = _database(memory_limit, temp_directory or tempfile.gettempdir(), threads, os.getpid()).cursor()
    con.execute("SET TimeZone = 'UTC'")  # naive times count as UTC
    return con


@cache
def _database(memory_limit: str | None, folder: str, threads: int | None, pid: int) -> duckdb.DuckDBPyConnection:
    """An in-memory database that spills to disk. A forked process opens another one."""
    os.makedirs(folder, exist_ok=True)
    settings: dict[str, str | int] = {"temp_directory": os.path.join(folder, f"feast-asof-{pid}")}
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    if threads is not None:
        settings["threads"] = threads
    return duckdb.connect(config=settings)


def ident(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def idents(names: Sequence[str], of: str = "") -> str:
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + ident(name) for name in names)


def text(value: str) -> str:
    """A string as SQL."""
    return "'" + value.replace("'", "''") + "'"
