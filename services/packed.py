"""The bundle that a Bento carries with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound
from bentoml.models import BentoModel

from models.registry import MODEL_NAME, NoChampionError, champion


def packed_model(pointer: Path) -> BentoModel | None:
    """A reference to what answers for the champion, or to it, else to the store's newest bundle; None: it has none.

    BentoML refuses to start a service whose class names a model that does not exist, so nothing may be named then.
    In a Bento that runs elsewhere the store is the Bento's own, and holds the one bundle that was packed.
    """
    tags = [f"{MODEL_NAME}:latest"]
    with suppress(NoChampionError):
        held = champion(pointer)
        tags[:0] = [held.serves, held.tag]
    for tag in tags:
        try:
            return BentoModel(str(bentoml.models.get(tag).tag))
        except NotFound:
            continue
    return None
