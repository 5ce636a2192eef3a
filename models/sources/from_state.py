"""What sources have in common that learn nothing: all that they say is in the user's state."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from models.errors import NotFittedError
from models.interactions import Interactions
from models.sources.base import Source


class FromState(Source):
    """A rule over the user's own events."""

    config_class: ClassVar[Any]
    """What the configuration is made of, when it is read back."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.n_items: int | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Learns only how many items there are."""
        self.n_items = events.n_items
        return self

    def save(self, folder: Path) -> None:
        """Writes the configuration."""
        if self.n_items is None:
            raise NotFittedError(f"{self.name}: nothing to save before fit")
        (folder / f"{self.name}.json").write_text(json.dumps({"n_items": self.n_items, **asdict(self.config)}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        data = json.loads((folder / f"{cls.name}.json").read_text())
        n_items = data.pop("n_items")
        choices = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        source = cls(cls.config_class(**choices))
        source.n_items = n_items
        return source
