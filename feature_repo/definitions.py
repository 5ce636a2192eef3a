"""The Feast objects: one view per feature file, and the services that models and requests ask for by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView

from feature_repo.feature import ITEM, TIME_OF_WEEK, USER
from feature_repo.features import discover
from feature_repo.request_time import request_time

ITEM_SERVICE = "items_v1"
"""What a model knows of an item; packed into its bundle."""
USER_SERVICE = "ranking_v1"
"""What a model knows of a user and of the moment; read once per request."""


def definitions(root: Path) -> list[Any]:
    """All Feast objects, with the snapshots under `root`.

    Raises:
        ValueError: two features share a name (from Feast, at apply).
    """
    features = discover()
    views = {name: feature.view(str(root / name / "*.parquet")) for name, feature in features.items()}

    def of(*entities: Entity) -> list[FeatureView]:
        return [views[name] for name, feature in features.items() if feature.entity in entities and feature.trained_on]

    return [
        USER,
        ITEM,
        TIME_OF_WEEK,
        *views.values(),
        request_time,
        FeatureService(name=USER_SERVICE, features=[*of(USER, TIME_OF_WEEK), request_time]),
        FeatureService(name=ITEM_SERVICE, features=of(ITEM)),
    ]
