"""What is near the user in a space that items are placed in by their attributes, learned from who took what."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from models.attributes import ItemAttributes
from models.batch import Array, StateBatch
from models.errors import NotFittedError, TableError
from models.ids import IdMap
from models.index import NOTHING, VectorIndex
from models.interactions import Interactions
from models.sources.asked import ByVector
from models.sources.base import Source
from models.sources.towers import Towers, TwoTowerConfig, features_of, history_of

_WEIGHTS, _CONFIG, _INDEX = "two_tower.pt", "two_tower.json", "index"


class TwoTower(Source):
    """Score of an item: the cosine of its vector with the user's over a temperature, plus its bias.

    An item's vector follows from its attributes and an id that it has if the training met it; so an item that nobody
    took is placed by its attributes among those that are like it. A user's follows from the vectors of their items.
    Items that have neither an event nor an attribute are never proposed.

    Args:
        config: choices.
        attributes: of the items of the id map that the events are encoded with; None: ids alone count.
    """

    name: ClassVar[str] = "two_tower"

    def __init__(self, config: TwoTowerConfig = TwoTowerConfig(), attributes: ItemAttributes | None = None) -> None:
        self.config = config
        self.attributes = attributes
        self._towers: Towers | None = None
        self._seen: Array | None = None
        """[n_items] items that had an event"""
        self._index: VectorIndex | None = None

    def fit(self, events: Interactions, now: float) -> Self:
        """Trains; called again, anew.

        Raises:
            TableError: the attributes are not of the events' items.
        """
        # Imported here: Lightning takes seconds, and the service does not train.
        from models.sources.two_tower_training import train_towers

        if self.attributes is not None:
            self.attributes.check(self.name, events.n_items)
        self._seen = np.bincount(events.item, minlength=events.n_items) > 0
        self._towers = train_towers(events, self._said(events.n_items).matrix, self.config)
        self._index = self._new_index()
        return self

    def with_items(self, frame: pd.DataFrame, items: IdMap) -> Self:
        """The same source with items that are new since the fit.

        Args:
            frame: the items' attributes, as `ItemAttributes.of` reads them; nothing of it is read without attributes.
            items: the id map that users' states are encoded with: that of the fit, with new items behind.

        Raises:
            TableError: there are fewer items than at the fit.
        """
        if self._towers is None or self._seen is None:
            raise NotFittedError("two_tower: call fit or load first")
        if len(items) < len(self._seen):
            raise TableError(
                f"two_tower: {len(items)} items, {len(self._seen)} at the fit, with the unknown one; expected the "
                "id map of the fit with new items behind"
            )
        source = type(self)(self.config, self.attributes and self.attributes.follow(frame, items))
        source._towers = self._towers
        source._seen = np.append(self._seen, np.zeros(len(items) - len(self._seen), dtype=bool))
        source._index = source._new_index()
        return source

    @torch.inference_mode()
    def ask(self, batch: StateBatch) -> ByVector:
        """The users' vectors, from those of their items."""
        if self._towers is None or self._index is None:
            raise NotFittedError("two_tower: call fit or load first")
        index = self._index
        history = history_of(batch, index.place, self.config)
        rows = history.rows
        vectors = torch.from_numpy(index.rows[rows][:, :-1].copy())  # of a few items, not of the catalogue
        users = self._towers.users(history.among(rows), vectors)
        known = np.diff(history.own.bounds.numpy(), append=len(history.own.place)) > 0
        return ByVector((users / self.config.temperature).numpy(), known, index)

    def _said(self, n_items: int) -> ItemAttributes:
        return ItemAttributes.none(n_items) if self.attributes is None else self.attributes

    @torch.inference_mode()
    def _new_index(self) -> VectorIndex:
        assert self._towers is not None
        assert self._seen is not None
        said = self._said(len(self._seen))
        ids = np.where(self._seen, np.arange(len(self._seen)), 0)
        vectors, bias = self._towers.items(torch.from_numpy(ids), features_of(said.matrix))
        found = self._seen | said.known
        found[0] = False
        return VectorIndex.build(vectors.numpy(), np.where(found, bias.numpy(), NOTHING))

    @property
    def is_whole(self) -> bool:
        return self._index is None or self._index.is_whole

    def save(self, folder: Path) -> None:
        """Writes weights, configuration, attributes and the index of the items' vectors."""
        if self._towers is None or self._seen is None or self._index is None:
            raise NotFittedError("two_tower: nothing to save before fit")
        state = {**self._towers.state_dict(), "seen": torch.from_numpy(self._seen)}
        torch.save(state, folder / _WEIGHTS)
        (folder / _CONFIG).write_text(
            json.dumps({"has_attributes": self.attributes is not None, **asdict(self.config)})
        )
        if self.attributes is not None:
            self.attributes.save(folder)
        self._index.save(folder / _INDEX)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Tables are mapped, so that several processes share them in memory."""
        config = json.loads((folder / _CONFIG).read_text())
        attributes = ItemAttributes.load(folder) if config.pop("has_attributes") else None
        source = cls(TwoTowerConfig(**config), attributes)
        state = torch.load(folder / _WEIGHTS, weights_only=True, map_location="cpu", mmap=True)
        source._seen = state.pop("seen").numpy()
        with torch.device("meta"):
            towers = Towers(len(state["id.weight"]), len(state["feature"]), source.config).eval()
        towers.load_state_dict(state, assign=True)
        source._towers, source._index = towers, VectorIndex.load(folder / _INDEX)
        return source
