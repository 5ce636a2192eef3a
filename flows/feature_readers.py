"""Which models read which features: what a bundle says of itself, in the model store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import bentoml

from infra.settings import Settings
from models import registry
from models.bundle import MANIFEST


@dataclass(frozen=True)
class Reader:
    """A published bundle and the features that it asks for, as `view:feature`."""

    tag: str
    features: frozenset[str]
    in_service: bool


def readers(config: Settings) -> list[Reader]:
    """Every bundle of the model store, the one in service first."""
    in_service = _in_service(config)
    found = [
        Reader(str(model.tag), _reads(Path(model.path)), str(model.tag) in in_service)
        for model in bentoml.models.list()
        if model.tag.name == registry.MODEL_NAME
    ]
    return sorted(found, key=lambda reader: (not reader.in_service, reader.tag))


def live_features(config: Settings) -> dict[str, frozenset[str]]:
    """Bundle in service -> features that it reads."""
    return {reader.tag: reader.features for reader in readers(config) if reader.in_service}


def _in_service(config: Settings) -> set[str]:
    try:
        held = registry.champion(config.champion)
    except registry.NoChampionError:
        return set()
    return {held.tag, held.serves}


def _reads(bundle: Path) -> frozenset[str]:
    # Of whatever format: a bundle that this code cannot load may still be in service with the code that can.
    content = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    names = [*content.get("features", ()), *content.get("item_features", ())]
    return frozenset(name for name in names if ":" in name)
