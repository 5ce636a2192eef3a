"""Our Bentos: the service with a model in it, built and looked up."""

from __future__ import annotations

import subprocess
import sys

import bentoml
from bentoml import Bento

from flows.errors import BentoError
from infra.settings import PROJECT_ROOT, Settings, environment
from models.registry import MODEL_NAME


def build_bento(config: Settings) -> str:
    """Build the Bento of the service with the champion in it, as `pyproject.toml` says; returns the Bento's tag.

    Raises:
        BentoError: the build failed; with its output.
    """
    # In a process of its own: the service's module looks for the champion once, when it is imported.
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    built = subprocess.run(command, cwd=PROJECT_ROOT, env=environment(config), capture_output=True, text=True)
    if built.returncode:
        raise BentoError(f"bentoml build failed: {built.stderr.strip()[-2000:]}")
    return built.stdout.strip().rpartition("__tag__:")[2]


def our_bentos() -> list[tuple[Bento, set[str]]]:
    """Each Bento of the service, with the tags of the models in it."""
    ours = [bento for bento in bentoml.bentos.list() if bento.tag.name == MODEL_NAME]
    return [(bento, {str(model.tag) for model in bento.info.all_models}) for bento in ours]


def is_packed(tag: str) -> bool:
    """Whether there is a Bento of a model."""
    return any(tag in models for _, models in our_bentos())
