"""The model in service: follows the champion pointer, and swaps models between two requests."""

from __future__ import annotations

import asyncio
import logging
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models import bundle, registry
from models.errors import BundleError
from models.item_packer import ItemPacker
from models.recommender import Recommender
from models.state import UserState
from services.items import ItemWatch, columns_of
from services.metrics import ITEMS_AGE, SWAPS, stage

log = logging.getLogger("bentoml.kairos.champion")

LOOK_EVERY_S = 1.0
VARIANT = "champion"
BUNDLE_ERRORS = (
    registry.NoChampionError, RuntimeError, OSError, ValueError, LookupError, TypeError,
    zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip
"""What a damaged or foreign bundle makes of numpy, torch and our own reading."""


@dataclass(frozen=True)
class Served:
    """A bundle in memory."""

    tag: str
    recommender: Recommender
    packer: ItemPacker
    """Packs item tables for the model."""
    features: tuple[str, ...]
    """The bundle's own list, `view:feature`: what is read per user."""
    items_at: float | None
    """As of when the item table is, epoch seconds; None: nobody knows."""

    @property
    def names(self) -> Mapping[str, str]:
        """item_id -> name"""
        return self.recommender.item_names

    @property
    def version(self) -> str:
        return self.tag.partition(":")[2]

    @classmethod
    def load(cls, tag: str, folder: Path) -> Served:
        """Read a bundle and try it out.

        Raises:
            BUNDLE_ERRORS: it is damaged, or recommends nothing.
        """
        recommender = bundle.load(folder)
        content = bundle.manifest(folder)
        packer = ItemPacker(recommender.vocabulary)
        served = cls(tag, recommender, packer, tuple(content["features"]), content.get("items_at"))
        best = recommender.popular(1)
        somebody = UserState.empty("smoke-test", 0.0).with_items([item.item_id for item in best])
        if not best or not all(recommender.recommend([UserState.empty("smoke-test", 0.0), somebody], 1)):
            raise BundleError(f"{folder}: recommends nothing; train again")
        return served


class ChampionWatch:
    """Holds the model in service. `current` is replaced whole: a request keeps the model that it began with."""

    def __init__(
        self,
        pointer: Path,
        packed: Callable[[], tuple[str, Path] | None] = lambda: None,
        items: ItemWatch | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            pointer: the champion pointer.
            packed: tag and folder of the bundle that came with the Bento, for where no pointer can be followed.
            items: where newer item tables come from; None: every model keeps its own.
        """
        self._pointer = pointer
        self._packed = packed
        self._items = items
        self._refused: str | None = None
        self.current: Served | None = None

    def follow(self) -> bool:
        """Look at the pointer and load what it names, if that is not in service yet. Blocking.

        A bundle that fails its test is refused, once, and the one before goes on.

        Returns:
            Whether another model is in service now.
        """
        try:
            champion = registry.champion(self._pointer)
            tag, asked = champion.tag, champion.tag + champion.since
            if asked == self._refused or (self.current and self.current.tag == tag):
                return False
            folder = registry.bundle_path(tag)
        except registry.NoChampionError as error:
            packed = None if self.current else self._packed()
            if packed is None:
                return False
            log.warning("%s; taking the bundle that was packed with the service", error)
            tag, folder = packed
            asked = tag
            if asked == self._refused:
                return False
        except (OSError, ValueError, TypeError) as error:
            log.error("the champion pointer cannot be read: %s: %s", type(error).__name__, error)
            return False
        return self._swap(tag, folder, asked)

    def _swap(self, tag: str, folder: Path, asked: str) -> bool:
        try:
            with stage("load_model"):
                served = Served.load(tag, folder)
        except BUNDLE_ERRORS as error:
            self._refused = asked
            SWAPS.labels("refused").inc()
            log.error("model %s is refused: %s: %s", tag, type(error).__name__, error)
            return False
        self.current, self._refused = self._with_newest_items(served), None
        SWAPS.labels("followed").inc()
        log.info("model %s is in service", tag)
        return True

    def follow_items(self) -> bool:
        """Look for a newer item table and give it to the model in service. Blocking.

        Returns:
            Whether the model has another table now.
        """
        if self._items is None or not self._items.follow() or self.current is None:
            return False
        before, self.current = self.current, self._with_newest_items(self.current)
        return self.current is not before

    def _with_newest_items(self, served: Served) -> Served:
        """The same model over the newest item table, if that is newer than the model's."""
        table = self._items.current if self._items else None
        if table is None or (served.items_at is not None and table.moment.timestamp() < served.items_at):
            return served
        with stage("pack_items"):
            items = served.packer.pack(columns_of(table))
            # Computed here, or the first request would have to.
            _ = items.static_features
        recommender = served.recommender.with_item_table(items)
        return replace(served, recommender=recommender, items_at=table.moment.timestamp())

    async def watch(self) -> None:
        """Follow the pointer and the item table until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.follow)
            await asyncio.to_thread(self.follow_items)
            if self._items and self.current and self.current.items_at is not None:
                ITEMS_AGE.set(self._items.age_s(self.current.items_at))
