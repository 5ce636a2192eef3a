"""The Feast objects: one view per feature file, and the services that models and requests ask for by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feast import FeatureService, FeatureView

from feature_repo.feature import ITEM, TIME_OF_WEEK, USER
from feature_repo.features import discover
from feature_repo.request_time import request_time

ITEM_SERVICE = "items_v1"
"""What a model knows of an item; packed into its bundle."""
USER_SERVICE = "ranking_v1"
"""What a model knows of a user and of the moment; read once per request."""
STREAM_SERVICE = "stream_v1"
"""What the stream path reads of a user before an event joins."""

INTERNAL = ("history",)
"""Views that only the stream path reads."""


def definitions(root: Path) -> list[Any]:
    """All Feast objects, with the snapshots under `root`.

    Raises:
        ValueError: two features share a name (from Feast, at apply).
    """
    views = {name: feature.view(str(root / name / "*.parquet")) for name, feature in discover().items()}

    def of(*entities: str) -> list[FeatureView]:
        return [v for name, v in views.items() if set(v.entities) <= set(entities) and name not in INTERNAL]

    return [
        USER,
        ITEM,
        TIME_OF_WEEK,
        *views.values(),
        request_time,
        FeatureService(name=USER_SERVICE, features=[*of(USER.name, TIME_OF_WEEK.name), request_time]),
        FeatureService(name=ITEM_SERVICE, features=of(ITEM.name)),
        FeatureService(name=STREAM_SERVICE, features=[views[name] for name in INTERNAL]),
    ]
