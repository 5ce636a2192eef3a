"""Published bundles in BentoML's model store, and the champion pointer that names the one in service.

The pointer is one small file, replaced whole: whoever reads it sees the old champion or the new one.
Going back is the same act as going forward.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import NotFound

MODEL_NAME = "kairos"


class NoChampionError(RuntimeError):
    """No bundle is in service yet."""


@dataclass(frozen=True)
class Champion:
    """Which bundle is in service, and since when (ISO 8601, UTC)."""

    tag: str
    since: str

    @property
    def version(self) -> str:
        return self.tag.partition(":")[2]


def publish(bundle: Path, metadata: Mapping[str, Any]) -> str:
    """Copy a bundle's folder into the model store.

    Returns:
        The new model's tag, `kairos:VERSION`.
    """
    with bentoml.models.create(MODEL_NAME, metadata=dict(metadata)) as model:
        shutil.copytree(bundle, model.path, dirs_exist_ok=True)
    return str(model.tag)


def crown(pointer: Path, tag: str, *, now: datetime | None = None) -> Champion:
    """Put a published bundle into service; running services follow without a restart.

    Raises:
        NoChampionError: the store holds no such model.
    """
    bundle_path(tag)
    champion = Champion(tag, (now or datetime.now(UTC)).isoformat())
    pointer.parent.mkdir(parents=True, exist_ok=True)
    partial = pointer.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(champion)))
    os.replace(partial, pointer)
    return champion


def champion(pointer: Path) -> Champion:
    """The bundle in service.

    Raises:
        NoChampionError: none is.
    """
    try:
        return Champion(**json.loads(pointer.read_text()))
    except FileNotFoundError as error:
        raise NoChampionError(
            "no model in service: run `kairos train` and `kairos publish`, or `kairos demo`"
        ) from error


def bundle_path(tag: str) -> Path:
    """Folder of a published bundle.

    Raises:
        NoChampionError: the store holds no such model.
    """
    try:
        return Path(bentoml.models.get(tag).path)
    except NotFound as error:
        raise NoChampionError(f"model {tag} is not in BentoML's store at {os.environ.get('BENTOML_HOME')}") from error
