"""The options that several commands share: a file of events, and what is to be known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Events = Annotated[
    Path | None, typer.Option("--events", help="Your own events, CSV or Parquet; unset: Complete Journey")
]
Items = Annotated[Path | None, typer.Option(help="Items table, CSV or Parquet")]
Users = Annotated[Path | None, typer.Option(help="Users table, CSV or Parquet")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="ours=theirs, where a column's name differs; can be repeated")
]
ItemColumns = Annotated[list[str] | None, typer.Option("--item-column", help="ours=theirs, in the items table")]
UserColumns = Annotated[list[str] | None, typer.Option("--user-column", help="ours=theirs, in the users table")]
Encoding = Annotated[str | None, typer.Option(help="Of CSV files, by default utf-8; e.g. latin-1")]
Behaviours = Annotated[
    list[str] | None,
    typer.Option(
        "--behaviour", help="theirs=ours, for event types named otherwise, e.g. addtocart=cart; can be repeated"
    ),
]


def file_options(
    items: Path | None,
    users: Path | None,
    columns: list[str] | None,
    item_columns: list[str] | None,
    user_columns: list[str] | None,
    behaviours: list[str] | None,
    encoding: str | None,
) -> dict[str, Any]:
    """The file connectors' options that were given."""
    options = {
        "items": str(items) if items else None,
        "users": str(users) if users else None,
        "columns": pairs("--column", columns),
        "item_columns": pairs("--item-column", item_columns),
        "user_columns": pairs("--user-column", user_columns),
        "behaviours": pairs("--behaviour", behaviours),
        "encoding": encoding,
    }
    return {key: value for key, value in options.items() if value}


def file_source(events: Path, details: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The connector for a file of events, by its suffix, and all its options."""
    from flows.connectors.files import format_of

    return format_of(events), {"path": str(events), **details}


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """`a=b` options as a mapping."""
    split = [pair.partition("=") for pair in given or []]
    if not all(key and sign and value for key, sign, value in split):
        raise typer.BadParameter(f"{option} wants NAME=NAME, got {', '.join(given or [])}")
    return {key: value for key, _, value in split}
