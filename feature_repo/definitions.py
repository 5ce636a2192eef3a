"""The Feast objects: one view per feature file, and the services that models and requests ask for by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView

from feature_repo.feature import ITEM, TIME_OF_WEEK, USER, Feature
from feature_repo.feature_code import code_digest
from feature_repo.features import discover
from feature_repo.groups import ITEM_SERVICE, SERVICES, USER_SERVICE
from feature_repo.request_time import request_time

__all__ = ["CODE_TAG", "ITEM_SERVICE", "USER_SERVICE", "definitions"]

CODE_TAG = "code"
"""Tag of the views that come from a feature file: the digest of what it computes."""


def definitions(root: Path) -> list[Any]:
    """All Feast objects, with the snapshots under `root`.

    Raises:
        FeatureFileError: a feature file is wrong.
    """
    features = discover()
    views = {name: _view(feature, root) for name, feature in features.items()}

    def of(entities: tuple[Entity, ...]) -> list[FeatureView]:
        return [views[name] for name, feature in features.items() if feature.entity in entities and feature.trained_on]

    return [
        USER,
        ITEM,
        TIME_OF_WEEK,
        *views.values(),
        request_time,
        FeatureService(name=USER_SERVICE, features=[*of(SERVICES[USER_SERVICE]), request_time]),
        FeatureService(name=ITEM_SERVICE, features=of(SERVICES[ITEM_SERVICE])),
    ]


def _view(feature: Feature, root: Path) -> FeatureView:
    view = feature.view(str(root / feature.name / "*.parquet"))
    view.tags = {CODE_TAG: code_digest(feature)}
    return view
