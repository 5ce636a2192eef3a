"""What must be right about the features before one of them is computed or registered."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from feast.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    PrimitiveFeastType,
    String,
    UnixTimestamp,
)
from ibis import expr
from ibis.expr.datatypes import DataType
from ibis.expr.operations import DateNow, Impure, TimestampNow

from feature_repo.feature import ITEM, MOMENT, TIME_OF_WEEK, USER, Feature
from feature_repo.feature_code import code_digest, input_tables
from feature_repo.feature_files import FeatureFile, one_line, shown, where
from feature_repo.groups import SERVICES, USER_SERVICE
from feature_repo.request_time import REQUEST, request_time

NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
HELD: Final[dict[str, PrimitiveFeastType]] = {
    "string": String,
    "boolean": Bool,
    "int32": Int32,
    "int64": Int64,
    "float32": Float32,
    "float64": Float64,
    "timestamp": UnixTimestamp,
    "binary": Bytes,
}
"""Ibis type -> the Feast type that holds it in every store. Lists of these are held, too; maps, structs and decimals
are not."""
_POSSIBLE: Final = f"possible are {', '.join(kind.name.title().replace('_', '') for kind in HELD.values())}, " + (
    "and Array of one of them"
)
_ENTITIES: Final = (USER, ITEM, TIME_OF_WEEK)
_RESERVED: Final = {
    MOMENT,
    "created_timestamp",
    *(entity.join_key for entity in _ENTITIES),
    *(field.name for field in REQUEST.schema),
}


def problems_of(features: Mapping[FeatureFile, Feature]) -> list[str]:
    """A line for each problem, with the file, the feature and the field, and what was expected."""
    problems = [
        f"{shown(file.path)}:{line}: {feature.name}{problem}"
        for file, feature in features.items()
        for line, problem in _of_one(file, feature)
    ]
    return [*problems, *_computing(features), *_same_names(features), *_same_fields(features)]


def _of_one(file: FeatureFile, feature: Feature) -> Iterator[tuple[int, str]]:
    """What a declaration says of itself."""
    named = f"expected small letters, digits and single underscores, like {'user_nights'!r}"
    if not NAME.fullmatch(feature.name):
        yield file.line(feature.name), f": not a name for a feature, {named}"
    if feature.name == request_time.name:
        yield file.line(feature.name), ": this name is taken by the features of the moment of asking"
    if feature.reads not in input_tables():
        yield file.line(feature.reads), f": reads {feature.reads!r}, expected one of {', '.join(input_tables())}"
    if feature.reads == "history" and feature.entity is not USER:
        yield (
            file.line("FEATURE"),
            f": reads 'history', which is one user's; expected the entity USER, not {feature.entity.name}",
        )
    if not feature.fields:
        yield file.line("FEATURE"), ": has no fields, expected at least one"
    for name, dtype in feature.fields.items():
        if not NAME.fullmatch(name):
            yield file.line(name), f".{name}: not a name for a field, {named}"
        if name in _RESERVED:
            yield file.line(name), f".{name}: this name is reserved, expected another"
        if dtype not in HELD.values() and not (isinstance(dtype, Array) and dtype.base_type in HELD.values()):
            yield file.line(name), f".{name}: type {_type_name(dtype)} is not held by Feast's stores; {_POSSIBLE}"
    for name in feature.expects:
        if name not in feature.fields:
            yield file.line(name), f".{name}: expects a field that is not there, its fields: {_names(feature.fields)}"


def _computing(features: Mapping[FeatureFile, Feature]) -> Iterator[str]:
    """What shows when the expression is built over an input without data."""
    for file, feature in features.items():
        if feature.reads not in input_tables():
            continue
        try:
            rows = feature.compute(input_tables()[feature.reads])
        except Exception as error:  # noqa: BLE001  whatever somebody's function raises is that file's problem
            reads = f"over the input {feature.reads!r}"
            yield f"{where(file, error)}: {feature.name}: the expression fails {reads}: {one_line(error)}"
            continue
        if not isinstance(rows, expr.types.Table):
            of = type(rows).__name__
            yield f"{shown(file.path)}:{file.line('FEATURE')}: {feature.name}: computes a {of}, expected a table"
            continue
        if rows.op().find((TimestampNow, DateNow, Impure)):
            at = f"{shown(file.path)}:{file.line('FEATURE')}"
            yield f"{at}: {feature.name}: the expression looks at the clock or at chance; expected times from {MOMENT}"
        wrong = [(file.line(name), f".{name}: {problem}") for name, problem in _columns(feature, rows.schema())]
        yield from (f"{shown(file.path)}:{line}: {feature.name}{problem}" for line, problem in wrong)
        if not wrong:
            try:
                code_digest(feature)
            except Exception as error:  # noqa: BLE001  as above
                yield f"{shown(file.path)}: {feature.name}: does not compile to SQL: {one_line(error)}"


def _columns(feature: Feature, schema: Mapping[str, DataType]) -> Iterator[tuple[str, str]]:
    for name in feature.columns:
        if name not in schema:
            what = "field" if name in feature.fields else "column that every feature has"
            yield name, f"a {what}, but the expression does not produce it; it produces {_names(schema)}"
    if MOMENT in schema and not schema[MOMENT].is_timestamp():
        yield MOMENT, f"the expression produces {schema[MOMENT]}, expected a timestamp"
    for name, dtype in feature.fields.items():
        if name not in schema:
            continue
        produced = _held_as(schema[name])
        if produced is None:
            yield name, f"the expression produces {schema[name]}, which Feast's stores do not hold; {_POSSIBLE}"
        elif produced != dtype:
            yield (
                name,
                (
                    f"declared {_type_name(dtype)}, but the expression produces {schema[name]}; "
                    f"declare {_type_name(produced)} or cast it"
                ),
            )


def _same_names(features: Mapping[FeatureFile, Feature]) -> Iterator[str]:
    first: dict[str, FeatureFile] = {}
    for file, feature in features.items():
        other = first.setdefault(feature.name, file)
        if other is not file:
            at = f"{shown(file.path)}:{file.line(feature.name)}"
            yield f"{at}: {feature.name}: the name of the feature in {shown(other.path)}, too; give one another name"


def _same_fields(features: Mapping[FeatureFile, Feature]) -> Iterator[str]:
    """Feast refuses to join two fields of one name for one request, but only when it is asked."""
    for service, entities in SERVICES.items():
        owners: dict[str, list[str]] = defaultdict(list)
        if service == USER_SERVICE:
            for field in request_time.features:
                owners[field.name].append(request_time.name)
        for file, feature in features.items():
            if feature.entity not in entities or not feature.trained_on:
                continue
            for name in feature.fields:
                if owners[name] and feature.name not in owners[name]:
                    yield (
                        f"{shown(file.path)}:{file.line(name)}: {feature.name}.{name}: {owners[name][0]} has a field "
                        f"of this name, and both are in the feature service {service}; give one another name"
                    )
                owners[name].append(feature.name)


def _held_as(dtype: DataType) -> FeastType | None:
    if dtype.is_array():
        inner = HELD.get(type(dtype.value_type).__name__.lower())
        return Array(inner) if inner else None
    return HELD.get(type(dtype).__name__.lower())


def _type_name(dtype: object) -> str:
    if isinstance(dtype, Array):
        return f"Array({_type_name(dtype.base_type)})"
    if isinstance(dtype, PrimitiveFeastType):
        return dtype.name.title().replace("_", "")
    return repr(dtype) if not isinstance(dtype, type) else dtype.__name__


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(names)
