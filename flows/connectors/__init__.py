"""Connectors: outside data under the event contract's names."""

from flows.connectors.base import BrokenRow, Chunk, Connector
from flows.connectors.registry import CONNECTORS, connector

__all__ = ["CONNECTORS", "BrokenRow", "Chunk", "Connector", "connector"]
