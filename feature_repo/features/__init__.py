"""The features. Each file holds one `FEATURE`; a new file here is all that a new feature needs."""

from __future__ import annotations

import importlib
import pkgutil

from feature_repo.feature import Feature


def discover() -> dict[str, Feature]:
    """Every feature by name, in the order of the files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    features = [module.FEATURE for module in modules if hasattr(module, "FEATURE")]
    return {feature.name: feature for feature in features}
