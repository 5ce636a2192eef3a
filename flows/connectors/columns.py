"""Which columns of a source are which of ours: renamed once, here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from feature_repo import schema as s
from flows.connectors.base import BEHAVIOUR
from flows.errors import MissingColumnError

EVENT_COLUMNS = (*(name for name in s.EVENTS.names if name != s.BATCH_ID), BEHAVIOUR)
EVENT_NEEDS = ((s.USER_ID,), (s.ITEM_ID,), (s.EVENT_TYPE, BEHAVIOUR), (s.TIMESTAMP,))
"""What an event table must have; one name of each group."""


@dataclass(frozen=True)
class Columns:
    """Their name -> ours for every column that is read, and the columns that are left out."""

    ours: Mapping[str, str]
    left_out: Sequence[str] = ()


def event_columns(source: str, header: Sequence[str], mapping: Mapping[str, str]) -> Columns:
    """Columns of an event table: the contract's and the short form's, others are left out.

    Args:
        source: where the header is from, for messages.
        header: the source's column names.
        mapping: our name -> theirs, for names that differ.

    Raises:
        MissingColumnError: a required column is missing, or the mapping names an unknown one.
    """
    taken = _renamed(source, header, mapping, EVENT_COLUMNS)
    for group in EVENT_NEEDS:
        if not set(group) & set(taken.values()):
            wanted = " or ".join(repr(name) for name in group)
            raise MissingColumnError(
                f"{source}: column {wanted} is missing, found {', '.join(map(repr, header))}; "
                f"rename a column or map one: --column {group[0]}=THEIR_NAME"
            )
    kept = {theirs: ours for theirs, ours in taken.items() if ours in EVENT_COLUMNS}
    return Columns(kept, [name for name in header if name not in kept])


def table_columns(source: str, header: Sequence[str], mapping: Mapping[str, str], id_column: str) -> Columns:
    """Columns of an items or users table: all of them, those beyond the contract under their own names.

    Raises:
        MissingColumnError: the id is missing, or the mapping names an unknown column.
    """
    taken = _renamed(source, header, mapping, None)
    if id_column not in taken.values():
        raise MissingColumnError(
            f"{source}: column {id_column!r} is missing, found {', '.join(map(repr, header))}; "
            f"rename a column or map one"
        )
    return Columns(taken)


def _renamed(
    source: str, header: Sequence[str], mapping: Mapping[str, str], allowed: Collection[str] | None
) -> dict[str, str]:
    twice = sorted({name for name in header if list(header).count(name) > 1})
    if twice:
        raise MissingColumnError(f"{source}: column {twice[0]!r} is there twice; every column needs a name of its own")
    for ours, theirs in mapping.items():
        if allowed is not None and ours not in allowed:
            raise MissingColumnError(
                f"{source}: the mapping names {ours!r}, which events don't have; expected one of {', '.join(allowed)}"
            )
        if theirs not in header:
            raise MissingColumnError(
                f"{source}: the mapping reads {ours!r} from column {theirs!r}, "
                f"which isn't there; found {', '.join(map(repr, header))}"
            )
    renamed = {theirs: ours for ours, theirs in mapping.items()}
    # A column that carries one of our names gives way to the one that the mapping puts in its place.
    return {name: renamed.get(name, name) for name in header if name in renamed or name not in mapping}
