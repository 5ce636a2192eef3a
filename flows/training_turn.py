"""One training at a time: two at once would share the GPU's memory, or the cores, and both be slow or die."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from feature_repo.errors import FeaturesBusyError
from feature_repo.file_lock import file_lock
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings

LOCK_FILE: Final = "training.lock"
WAIT_S: Final = TIME_LIMITS_S["train"] / 2
"""How long a training waits for another's end: its own limit leaves as much for itself."""

log = logging.getLogger("kairos.training")


@contextmanager
def training_turn(settings: Settings, wait_s: float = WAIT_S) -> Iterator[None]:
    """Be the only training of the home, whoever started it: a schedule, an alarm, the pipeline or a command.

    The turn goes with the process, however that ends.

    Raises:
        FeaturesBusyError: another one took longer than `wait_s`; names its process.
    """
    with ExitStack() as held:

        def take(within_s: float) -> None:
            held.enter_context(file_lock(settings.home / LOCK_FILE, "the training", within_s))

        try:
            take(0)
        except FeaturesBusyError:
            if not wait_s:
                raise
            holder = (settings.home / LOCK_FILE).read_text()
            log.warning(
                "another training is at work, or snapshots are removed, %s: this one waits for up to %.0f minutes",
                holder,
                wait_s / 60,
            )
            take(wait_s)
        yield
