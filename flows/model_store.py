"""Where BentoML keeps the published models, without asking BentoML: it would make its folders."""

from __future__ import annotations

import os
from pathlib import Path

from infra.settings import Settings
from models.registry import MODEL_NAME


def model_store(settings: Settings) -> Path:
    """The folder of all versions of our model; `BENTOML_HOME` wins over the home's."""
    return Path(os.environ.get("BENTOML_HOME", settings.bentoml_home)) / "models" / MODEL_NAME


def bundle_folder(settings: Settings, tag: str) -> Path:
    """The folder of one version, whether it is there or not."""
    return model_store(settings) / tag.partition(":")[2]
