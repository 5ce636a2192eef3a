"""`kairos keys`: who may ask the service what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from infra.keys import Keys, KeysError, Right
from infra.settings import settings

app = typer.Typer(no_args_is_help=True, help="The clients' keys: add, list, remove.")

Name = Annotated[str, typer.Argument(help="The client's name, e.g. web-shop")]


@app.command()
def add(
    name: Name,
    rights: Annotated[str, typer.Option(help="events, recommend and admin, separated by commas")],
    rate: Annotated[
        str | None, typer.Option(help="At most so many requests, e.g. 100/second; unset: KAIROS_RATE_LIMIT")
    ] = None,
) -> None:
    """Make a key and print it: this once, only its hash is kept. A running service knows it within a second."""
    from feature_repo.file_lock import file_lock

    file = settings().keys_file
    with file_lock(file.with_suffix(".lock"), "the keys' file"):
        keys, secret = Keys.load(file).add(name, _rights(rights), rate, datetime.now(UTC))
        keys.save(file)
    typer.echo(secret)
    typer.echo(f"That was {name}'s key, shown this once. From now on nobody gets in without one.", err=True)


@app.command("list")
def list_() -> None:
    """The keys' names, rights and rates."""
    from flows.present import show_rows

    rows = [
        {
            "name": key.name,
            "rights": ", ".join(key.rights),
            "rate": key.rate or "the service's",
            "created": f"{key.created:%Y-%m-%d %H:%M}",
        }
        for key in Keys.load(settings().keys_file).keys
    ]
    show_rows("Keys", rows)


@app.command()
def remove(name: Name) -> None:
    """Shut a client out; a running service does so within a second."""
    from feature_repo.file_lock import file_lock

    file = settings().keys_file
    with file_lock(file.with_suffix(".lock"), "the keys' file"):
        keys = Keys.load(file).remove(name)
        keys.save(file)
    if not keys.keys:
        typer.echo(f"That was the last key: nobody gets in now. To serve everybody again, delete {file}", err=True)


def _rights(text: str) -> list[Right]:
    try:
        return [Right(part.strip()) for part in dict.fromkeys(text.split(","))]
    except ValueError as error:
        raise KeysError(f"--rights {text!r}: expected some of {', '.join(Right)}, separated by commas") from error
