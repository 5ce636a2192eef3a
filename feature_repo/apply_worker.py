"""The process beside a service that applies arriving events to the online features; says on the way how far it is.

    python -m feature_repo.apply_worker

Every worker of a service starts one, and one of them works. The next in line has loaded everything and takes over at
once; the others wait with next to nothing in memory. A process of its own, because the work would hold Python's lock
for tens of milliseconds in a process that answers requests. It ends when its input does, so it never outlives the
worker that started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, NoReturn

from feature_repo.turn import turns
from infra.memory import keep_for_good
from infra.settings import Settings, settings


def work(config: Settings, tell: Any) -> NoReturn:
    """Wait in line, then apply until the process ends."""
    next_in_line, turn = turns(config)
    next_in_line.take()
    # Feast takes seconds and hundreds of megabytes, which the third in line has no use for.
    from feature_repo.applying import FeatureApplier, keep_applying, keep_trimming

    applier = FeatureApplier(config, tell)
    trimming = threading.Thread(target=keep_trimming, args=(config,), daemon=True)

    def take_turn() -> None:
        applier.open()
        keep_for_good()
        turn.take()
        next_in_line.give_back()
        if trimming.ident is None:
            trimming.start()

    keep_applying(applier, take_turn, tell)


def _end_with_the_service() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # at whatever point: what was not marked is applied again


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    # What is told alone goes to the standard output: whatever else prints, prints to the log.
    told, sys.stdout = sys.stdout, sys.stderr
    work(settings(), lambda message: print(json.dumps(message), file=told, flush=True))
