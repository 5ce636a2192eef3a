"""One training at a time: two at once would share the GPU's memory, or the cores, and both be slow or die."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from feature_repo.file_lock import file_lock
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings

LOCK_FILE: Final = "training.lock"
WAIT_S: Final = TIME_LIMITS_S["train"] / 2
"""How long a training waits for another's end: its own limit leaves as much for itself."""


@contextmanager
def training_turn(settings: Settings, wait_s: float = WAIT_S) -> Iterator[None]:
    """Be the only training of the home, whoever started it: a schedule, an alarm, the pipeline or a command.

    The turn goes with the process, however that ends.

    Raises:
        FeaturesBusyError: another one took longer than `wait_s`; names its process.
    """
    with file_lock(settings.home / LOCK_FILE, "the turn to train, or to remove snapshots,", wait_s):
        yield
