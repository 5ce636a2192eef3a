"""The newest item table: follows the packed versions, which a refresh writes every minute."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from feature_repo.errors import DamagedTableError
from feature_repo.packed import PackedItems
from feature_repo.packed_files import PackedFiles
from models.item_packer import ItemColumns
from models.items import Texts
from services.metrics import FAILURES

log = logging.getLogger("bentoml.kairos.items")


def columns_of(table: PackedItems) -> ItemColumns:
    """The table as a model takes it: the same arrays, nothing copied."""
    return ItemColumns(
        ids=table.ids,
        numbers={name: table.numbers[:, at] for at, name in enumerate(table.number_names)},
        texts={name: Texts(table.codes[:, at], table.values[at]) for at, name in enumerate(table.text_names)},
    )


class ItemWatch:
    """Holds the newest version that could be read; replaced whole."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        """Nothing is loaded yet.

        Args:
            folder: of the versions.
            now: the service's clock; tells which values have expired.
        """
        self._files = PackedFiles(folder)
        self._now = now
        self._seen: str | None = None
        self.current: PackedItems | None = None

    def follow(self) -> bool:
        """Load the version that counts, if that is another one than last time. Blocking.

        A damaged one is logged and counted, once, and the one before goes on.

        Returns:
            Whether another version is loaded now.
        """
        version = self._files.current
        if version is None or version == self._seen:
            return False
        try:
            table = self._files.load(version).at(self._now())
        except DamagedTableError as error:
            if self._files.current != version:
                return False  # replaced while it was read; the next look finds the new one
            self._seen = version
            FAILURES.labels("item_table").inc()
            log.error("item table %s is damaged, going on with the one before: %s", version, error)
            return False
        self.current, self._seen = table, version
        return True

    def age_s(self, moment: float) -> float:
        """How long ago an epoch second was."""
        return self._now().timestamp() - moment
