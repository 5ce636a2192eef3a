"""The bundle that a Bento carries with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound
from bentoml.models import BentoModel

from models.registry import MODEL_NAME, NoChampionError, champion


def packed_model(pointer: Path) -> BentoModel | None:
    """A reference to the champion, else to the newest bundle in the store; None if there is none.

    BentoML refuses to start a service whose class names a model that does not exist, so nothing may be named then.
    In a Bento that runs elsewhere the store is the Bento's own, and holds the one bundle that was packed.
    """
    tags = [f"{MODEL_NAME}:latest"]
    with suppress(NoChampionError):
        tags.insert(0, champion(pointer).tag)
    for tag in tags:
        try:
            return BentoModel(str(bentoml.models.get(tag).tag))
        except NotFound:
            continue
    return None
