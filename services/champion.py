"""The model in service: follows the champion pointer, and swaps models between two requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from models import bundle, registry
from models.batch import Ints
from models.item_packer import ItemPacker
from models.recommender import Recommender
from models.smoke import try_out, warm_up
from services.items import ItemWatch, columns_of
from services.metrics import FAILURES, ITEMS_AGE, LOST_INDEXES, SWAPS, stage

log = logging.getLogger("bentoml.kairos.champion")

LOOK_EVERY_S = 1.0
VARIANT = "champion"


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
    looks: Ints
    """[n items, .] the looks of the bundle's own item table, whatever table came after it."""

    @property
    def names(self) -> Mapping[str, str]:
        """item_id -> name"""
        return self.recommender.item_names

    @property
    def version(self) -> str:
        return self.tag.partition(":")[2]

    @classmethod
    def load(cls, tag: str, folder: Path) -> Served:
        """Read a bundle that is what was published.

        Raises:
            Exception: it is damaged; every library has errors of its own for that.
        """
        registry.check(folder)
        recommender, content = bundle.load(folder), bundle.manifest(folder)
        packer = ItemPacker(recommender.vocabulary)
        looks = recommender.items.looks
        return cls(tag, recommender, packer, tuple(content["features"]), content.get("items_at"), looks)


class ChampionWatch:
    """Holds the model in service. `current` is replaced whole: a request keeps the model that it began with."""

    def __init__(
        self,
        pointer: Path,
        packed: Callable[[], tuple[str, Path] | None] = lambda: None,
        items: ItemWatch | None = None,
        ahead: Callable[[Served], None] = lambda served: None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            pointer: the champion pointer.
            packed: tag and folder of the bundle that came with the Bento, for where no pointer can be followed.
            items: where newer item tables come from; None: every model keeps its own.
            ahead: called with a model before requests meet it; blocking.
        """
        self._pointer = pointer
        self._packed = packed
        self._items = items
        self._ahead = ahead
        self._refused: str | None = None
        self._no_way_back: str | None = None
        # One of its own: loading takes seconds, and the event loop's threads are there for the requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="champion")
        self.current: Served | None = None

    def follow(self) -> bool:
        """Look at the pointer and load what it names, if that is not in service yet. Blocking.

        A bundle that is damaged or fails its test is refused, once, and the one before goes on. But a champion that
        cannot be read as it is caught up answers as it was judged; and a service that has just started, and has none
        before, takes the newest earlier champion that works.

        Returns:
            Whether another model is in service now.
        """
        try:
            champion = registry.champion(self._pointer)
        except registry.NoChampionError as error:
            return self._take_packed(error)
        except (OSError, ValueError, TypeError) as error:
            log.error("the champion pointer cannot be read: %s: %s", type(error).__name__, error)
            return False
        asked = champion.serves + champion.since
        if asked == self._refused or (self.current and self.current.tag == champion.serves):
            return False
        try:
            folder = registry.bundle_path(champion.serves)
        except registry.NoChampionError as error:
            return self._take_packed(error) or self._take_earlier(champion)
        if self._swap(champion.serves, folder):
            self._refused = None
            return True
        self._refused = asked
        return self._take_earlier(champion)

    def _take_packed(self, reason: registry.NoChampionError) -> bool:
        packed = None if self.current else self._packed()
        if packed is None or packed[0] == self._refused:
            return False
        log.warning("%s; taking the bundle that was packed with the service", reason)
        if self._swap(*packed):
            return True
        self._refused = packed[0]
        return False

    def _take_earlier(self, champion: registry.Champion) -> bool:
        answers = self.current and self.current.tag
        judged = champion.tag + champion.since
        if answers != champion.tag != champion.serves and judged != self._no_way_back:
            if self._swap_back(champion.tag):
                return True
            self._no_way_back = judged if answers else None  # where another one answers, it is not loaded each second
        return answers is None and any(self._swap_back(reign.tag) for reign in champion.before)

    def _swap_back(self, tag: str) -> bool:
        try:
            return self._swap(tag, registry.bundle_path(tag))
        except registry.NoChampionError:
            return False

    def _swap(self, tag: str, folder: Path) -> bool:
        """Load a model beside the one in service, try it out as it will serve, and only then let requests have it."""
        try:
            with stage("load_model"):
                served = self._with_newest_items(Served.load(tag, folder))
                try_out(served.recommender)
                self._ahead(served)
        except Exception as error:  # noqa: BLE001 - see `Served.load`; the model in service goes on
            SWAPS.labels("refused").inc()
            log.error("model %s is refused: %s: %s", tag, type(error).__name__, error)
            return False
        self.current = served
        SWAPS.labels("followed").inc()
        LOST_INDEXES.set(sum(not source.is_whole for source in served.recommender.sources.values()))
        log.info("model %s is in service", tag)
        return True

    def follow_items(self) -> bool:
        """Look for a newer item table and give it to the model in service. Blocking.

        Returns:
            Whether the model has another table now.
        """
        if self._items is None or not self._items.follow() or self.current is None:
            return False
        try:
            served = self._with_newest_items(self.current)
            if served is self.current:
                return False
            # Over another table, the model builds some of its parts anew: here, or the next request would have to.
            warm_up(served.recommender)
        except Exception as error:  # noqa: BLE001 - as above
            FAILURES.labels("item_table").inc()
            log.error("the model keeps its item table: %s: %s", type(error).__name__, error)
            return False
        self.current = served
        return True

    def _with_newest_items(self, served: Served) -> Served:
        """The same model over the newest item table, if that is newer than the model's."""
        table = self._items.current if self._items else None
        if table is None or (served.items_at is not None and table.moment.timestamp() < served.items_at):
            return served
        with stage("pack_items"):
            items = served.packer.pack(columns_of(table))
        recommender = served.recommender.with_item_table(items)
        return replace(served, recommender=recommender, items_at=table.moment.timestamp())

    async def watch(self) -> None:
        """Follow the pointer and the item table until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await loop.run_in_executor(self._thread, self.follow)
            await loop.run_in_executor(self._thread, self.follow_items)
            if self._items and self.current and self.current.items_at is not None:
                ITEMS_AGE.set(self._items.age_s(self.current.items_at))
