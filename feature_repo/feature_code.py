"""What a feature computes, as text: the same text, the same values."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import ibis
from ibis.expr.types import Table

from feature_repo import inputs
from feature_repo.feature import Feature, Input

_EXCLUDE = re.compile(r"(?<=EXCLUDE \()[^)]*")
_MADE_UP = re.compile(r"\b(ibis_\w+?)_[a-z0-9]{26}\b")


@lru_cache
def input_tables() -> dict[Input, Table]:
    """Unbound tables with the columns and types of every input."""
    return {name: ibis.table(table.schema(), name=name) for name, table in inputs.expressions().items()}


@lru_cache
def code_digest(feature: Feature) -> str:
    """Changes with what the feature computes, whichever file that is written in; not with comments or form.

    It is taken from the compiled SQL of the expression and of its input, so a changed constant counts, and an edited
    docstring computes no snapshot anew.
    """
    text = _sql(feature.expression(input_tables()[feature.reads])) + _input_sql(feature.reads)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache
def _input_sql(name: Input) -> str:
    return _sql(inputs.expressions()[name])


def _sql(table: Table) -> str:
    # Ibis keeps dropped columns in a set, and makes names up: both are others in every process.
    sql = _MADE_UP.sub(r"\1", str(ibis.to_sql(table, dialect="duckdb")))
    return _EXCLUDE.sub(lambda names: ",".join(sorted(name.strip() for name in names[0].split(","))), sql)
