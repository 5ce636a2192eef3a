"""The sources of candidates, by name."""

from __future__ import annotations

from typing import Final

from models.sources.als import Als
from models.sources.base import Source
from models.sources.neighbours import Neighbours
from models.sources.own import Own
from models.sources.popularity import Popularity
from models.sources.sequence import Sequence

SOURCES: Final[dict[str, type[Source]]] = {
    source.name: source for source in (Own, Neighbours, Als, Sequence, Popularity)
}
"""In the order in which they appear as features."""
