"""What is like the items this user has, by what is said of them: the way to an item that nobody has taken yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
from scipy import sparse

from models.attributes import ItemAttributes
from models.batch import StateBatch
from models.errors import NotFittedError
from models.ids import IdMap
from models.index import NOTHING
from models.interactions import Interactions
from models.sources.asked import Dense
from models.sources.base import Source
from models.state import Floats

_CONFIG = "content.json"
_DAMPING: Final[Mapping[str, Callable[[Floats], Floats]]] = {"none": lambda weight: weight, "log": np.log1p}


@dataclass(frozen=True)
class ContentConfig:
    """How a user's taste is made of their items."""

    own: int = 100
    """Own items that count, those of the most decayed weight."""
    damping: Literal["none", "log"] = "log"
    """Of the decayed weights: what is taken again and again counts in full, or by its logarithm."""


class Content(Source):
    """Score of an item: the cosine of its attributes with those of the user's items, summed by damped decayed weight.

    Nothing is learned of who takes what, so items of the id map that no event is about are proposed like any other;
    those of which nothing is known never are.

    Args:
        attributes: of the items of the id map that the events are encoded with.
        config: choices.
    """

    name: ClassVar[str] = "content"

    def __init__(self, attributes: ItemAttributes, config: ContentConfig = ContentConfig()) -> None:
        self.config = config
        self.attributes = attributes
        self._is_fitted = False

    def fit(self, events: Interactions, now: float) -> Self:
        """Checks that the attributes are of the events' items.

        Raises:
            TableError: they are not.
        """
        self.attributes.check(self.name, events.n_items)
        self._is_fitted = True
        return self

    def with_items(self, frame: pd.DataFrame, items: IdMap) -> Self:
        """The same source over another id map, such as one with items that are new since the fit.

        Args:
            frame: the items' attributes, as `ItemAttributes.of` reads them.
            items: the id map that users' states are encoded with.
        """
        source = type(self)(self.attributes.follow(frame, items), self.config)
        source._is_fitted = self._is_fitted
        return source

    def ask(self, batch: StateBatch) -> Dense:
        """Every score."""
        if not self._is_fitted:
            raise NotFittedError("content: call fit or load first")
        matrix = self.attributes.matrix
        at = batch.strongest(self.config.own)
        weight = _DAMPING[self.config.damping](batch.own_decayed[at]).astype(np.float32)
        bounds = np.searchsorted(at, batch.own_bounds)
        own = sparse.csr_matrix((weight, batch.own_item[at], bounds), shape=(len(batch), matrix.shape[0]))
        taste = (own @ matrix).toarray()  # [B, F]
        taste /= np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-12)
        scores = np.ascontiguousarray((matrix @ taste.T).T)
        scores[scores <= 0.0] = NOTHING
        return Dense(scores)

    def save(self, folder: Path) -> None:
        """Writes the attributes and the configuration."""
        if not self._is_fitted:
            raise NotFittedError("content: nothing to save before fit")
        self.attributes.save(folder)
        (folder / _CONFIG).write_text(json.dumps(asdict(self.config)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        source = cls(ItemAttributes.load(folder), ContentConfig(**json.loads((folder / _CONFIG).read_text())))
        source._is_fitted = True
        return source
