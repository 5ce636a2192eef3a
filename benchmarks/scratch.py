"""A feature platform in a temporary home over the lake of the settings: benchmarks leave the installation alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_repo.store import Features
from infra.settings import Settings


@contextmanager
def scratch_features(config: Settings, **changes: Any) -> Iterator[Features]:
    """Opens it; whatever it wrote, online rows included, is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        home = Path(folder)
        (home / "lake").symlink_to(config.lake.resolve())
        features = Features.open(Settings(**{**config.model_dump(), "home": home, "registry": None, **changes}))
        try:
            yield features
        finally:
            features.feast.teardown()
