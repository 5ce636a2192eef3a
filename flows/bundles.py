"""Trained bundles, and their way into BentoML's store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import NotFound

from infra.settings import Settings
from models import bundle, registry
from models.errors import BundleError

BUNDLE: Final = "bundle"
"""In a published model's metadata: the folder that it was made of"""


def newest_bundle(config: Settings) -> Path:
    """The bundle trained last.

    Raises:
        NoChampionError: none was trained yet.
    """
    folders = sorted(path for path in config.bundles.glob("[!.]*") if path.is_dir())  # a dot: it was never whole
    if not folders:
        raise registry.NoChampionError("no trained bundle: run `kairos train` first")
    return folders[-1]


def publish_bundle(folder: Path) -> str:
    """Copy the bundle into the model store; returns its tag."""
    about = bundle.manifest(folder)
    told = {key: about[key] for key in ("fingerprint", "code_version", "feature_service")}
    origin = about.get("origin")  # bundles from before there were updates do not say
    teacher = {registry.TEACHER: origin["teacher"]} if origin else {}
    return registry.publish(folder, {**told, BUNDLE: folder.name, **teacher})


def known_until(tag: str) -> datetime:
    """The newest moment that a published bundle's sources know of; UTC.

    Raises:
        NoChampionError: the store holds no such model.
        BundleError: its manifest is damaged.
    """
    return datetime.fromtimestamp(bundle.manifest(registry.bundle_path(tag))["items_at"] or 0.0, UTC)


def answering(held: registry.Champion) -> str:
    """Tag of what answers: the champion caught up or, where that is gone or damaged, as the service does it, itself."""
    try:
        registry.check(registry.bundle_path(held.serves))
    except (registry.NoChampionError, BundleError):
        return held.tag
    return held.serves


def published_as(folder: Path) -> str | None:
    """Tag of the newest model that was made of a bundle; None: it was never published."""
    try:
        models = bentoml.models.list(registry.MODEL_NAME)
    except NotFound:  # of that name there was never one
        return None
    made = [model for model in models if model.info.metadata.get(BUNDLE) == folder.name]
    return str(max(made, key=lambda model: model.info.creation_time).tag) if made else None
