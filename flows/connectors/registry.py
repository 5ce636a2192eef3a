"""Connectors by name, so that a flow's parameters can be written as JSON."""

from __future__ import annotations

import inspect
from typing import Any

from flows.connectors.base import Connector
from flows.connectors.complete_journey import CompleteJourney
from flows.connectors.event_log import EventLogConnector
from flows.connectors.files import CsvFiles, ParquetFiles
from flows.connectors.movielens import MovieLens100K
from flows.connectors.postgres import PostgresSource
from flows.connectors.spark import SparkSource
from flows.errors import UnknownConnectorError

CONNECTORS: dict[str, type[Connector]] = {
    kind.name: kind
    for kind in (CompleteJourney, CsvFiles, ParquetFiles, MovieLens100K, EventLogConnector, PostgresSource, SparkSource)
}


def connector(name: str, **options: Any) -> Connector:
    """Build a connector.

    Args:
        name: one of `CONNECTORS`.
        options: arguments of its constructor.

    Raises:
        UnknownConnectorError: no such connector, or not an option of it; names what there is.
        SourceError: from the connector, e.g. a file that isn't there.
    """
    kind = CONNECTORS.get(name)
    if kind is None:
        raise UnknownConnectorError(f"no connector {name!r}; expected one of {', '.join(sorted(CONNECTORS))}")
    signature = inspect.signature(kind)
    try:
        signature.bind(**options)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise UnknownConnectorError(f"connector {name!r}: {error}; its options are: {known}") from error
    return kind(**options)
