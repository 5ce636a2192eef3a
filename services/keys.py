"""The keys in force: follows their file."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from infra.keys import Key, Keys, KeysError

log = logging.getLogger("bentoml.kairos.keys")

LOOK_EVERY_S = 1.0


class KeyRing:
    """Who may come in. A damaged file changes nothing; where no good one was ever read, it lets nobody in."""

    def __init__(self, file: Path, *, required: bool) -> None:
        """
        Args:
            required: ask for keys even where no file is.
        """
        self._file = file
        self._required = required
        self._keys = Keys()
        self._exists = False
        self._seen: tuple[int, ...] | None = None
        self._looked_at: float | None = None

    @property
    def in_force(self) -> bool:
        """Whether a key is asked for."""
        self._follow()
        return self._required or self._exists

    def find(self, secret: str) -> Key | None:
        """The key that a client presents; None: nobody's."""
        self._follow()
        return self._keys.find(secret)

    def _follow(self) -> None:
        # A look at a local file takes microseconds, once in a second: no thread is worth it.
        if self._looked_at is not None and time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        try:
            status = self._file.stat()
        except FileNotFoundError:
            self._keys, self._exists, self._seen = Keys(), False, None
            return
        except OSError as error:
            log.error("the keys' file cannot be looked at: %s", error)
            return
        seen = (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode)
        if seen == self._seen:
            return
        self._exists, self._seen = True, seen
        try:
            self._keys = Keys.load(self._file)
        except KeysError as error:
            log.error("%s; the keys stay as they were", error)
        else:
            log.info("%d keys are in force", len(self._keys.keys))
