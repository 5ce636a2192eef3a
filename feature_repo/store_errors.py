"""What reading and writing the online store can raise."""

from __future__ import annotations

import sqlite3

import duckdb
from feast.errors import FeastError
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from feature_repo.errors import FeatureError

ROW_ERRORS = (DecodeError,)
"""Of one damaged row, in a store that is well."""
STORE_ERRORS = (
    FeatureError,
    FeastError,
    sqlite3.Error,
    duckdb.Error,
    RedisError,
    SQLAlchemyError,
    *ROW_ERRORS,
    OSError,
)
"""Of a store that is down, damaged or half-written; a timeout is an OSError."""
EVENT_ERRORS = (ValueError, ArithmeticError, LookupError, duckdb.DataError)
"""Of an event that no expression can digest: the store has no part in it."""
