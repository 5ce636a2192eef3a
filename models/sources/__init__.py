"""The sources of candidates, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from models.sources.base import Source

_CLASSES: Final = {
    "own": "Own",
    "neighbours": "Neighbours",
    "als": "Als",
    "bpr": "Bpr",
    "sequence": "Sequence",
    "popularity": "Popularity",
    "recent": "Recent",
    "user_neighbours": "UserNeighbours",
    "linear": "Linear",
    "graph_filter": "GraphFilter",
    "mult_vae": "MultVae",
    "light_gcn": "LightGcn",
    "content": "Content",
    "two_tower": "TwoTower",
}
SOURCES: Final = tuple(_CLASSES)
"""Every kind there is; a bundle says which of them it has."""


def source_class(name: str) -> type[Source]:
    """The class of a name, from the module of that name: the service loads no more of them than its model has.

    Raises:
        KeyError: there is no such source.
    """
    wanted = _CLASSES[name]
    kind: type[Source] = getattr(import_module(f"models.sources.{name}"), wanted)
    return kind
