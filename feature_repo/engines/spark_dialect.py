"""Where Ibis's Spark means something else by an expression than its DuckDB, or nothing at all: made to agree.

An expression is written once and must have one meaning; DuckDB's is the reference, as the stream path runs on it.
"""

from __future__ import annotations

from typing import Any, Final

import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import sqlglot.expressions as sge
from ibis.backends.pyspark import Backend
from ibis.backends.sql.compilers.base import NULL, SQLGlotCompiler
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

MICROSECONDS: Final = 1_000_000
NUMBER: Final = r"^\s*[+-]?(([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?|(?i:inf|infinity|nan))\s*\z"
"""A text that DuckDB reads as a float. Java reads 1.5d and 0x1p3, too."""


class SparkCompiler(PySparkCompiler):
    """Ibis's compiler with DuckDB's meanings."""

    __slots__ = ()

    # A missing float is null, and NaN is a value.
    visit_Field = SQLGlotCompiler.visit_Field  # noqa: N815
    visit_IsNull = SQLGlotCompiler.visit_IsNull  # noqa: N815
    visit_NotNull = SQLGlotCompiler.visit_NotNull  # noqa: N815

    def visit_NonNullLiteral(self, op: ops.Literal, *, value: Any, dtype: dt.DataType) -> sge.Expression | None:  # noqa: N802
        """A float is a double: Spark takes 0.5 as a decimal, and computes on in decimals."""
        if dtype.is_floating():
            return self.cast(self.visit_DefaultLiteral(op, value=value, dtype=dtype), dtype)
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_Cast(self, op: ops.Cast, *, arg: sge.Expression, to: dt.DataType) -> sge.Expression:  # noqa: N802
        """A float becomes the nearest integer, half to even: Spark cuts it off."""
        if op.arg.dtype.is_floating() and to.is_integer():
            arg = self.f.rint(arg)
        return super().visit_Cast(op, arg=arg, to=to)

    def visit_TryCast(self, op: ops.TryCast, *, arg: sge.Expression, to: dt.DataType) -> sge.Expression:  # noqa: N802
        """A text that is no number is null, and 1_000 is a thousand."""
        if op.arg.dtype.is_string() and to.is_floating():
            arg = self.f.regexp_replace(arg, "(?<=[0-9])_(?=[0-9])", "")
            arg = self.if_(sge.RegexpLike(this=arg, expression=sge.convert(NUMBER)), arg, NULL)
        return super().visit_TryCast(op, arg=arg, to=to)

    def visit_ExtractMicrosecond(self, op: ops.ExtractMicrosecond, *, arg: sge.Expression) -> sge.Expression:  # noqa: N802
        """Missing from Ibis."""
        return self.f.pmod(self._epoch_us(arg), MICROSECONDS)

    def visit_ExtractEpochSeconds(self, op: ops.ExtractEpochSeconds, *, arg: sge.Expression) -> sge.Expression:  # noqa: N802
        """With the part below a second, which Spark cuts off."""
        return sge.Paren(this=self._epoch_us(arg) / MICROSECONDS)

    def visit_ArrayCollect(self, op: ops.ArrayCollect, **arguments: Any) -> sge.Expression:  # noqa: N802
        """The list of no rows is null: Spark's is empty."""
        return self.f.nullif(super().visit_ArrayCollect(op, **arguments), self.f.array())

    def _epoch_us(self, arg: sge.Expression) -> sge.Expression:
        return self.f.anon.unix_micros(self.cast(arg, dt.timestamp))


class SparkBackend(Backend):
    """Ibis on a Spark session, with expressions that mean what they mean on DuckDB."""

    compiler = SparkCompiler()
