"""The publishing step: a bundle goes into BentoML's model store, becomes champion, and is built into a Bento."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.errors import BentoError
from flows.naming import run_name
from infra.settings import PROJECT_ROOT, Settings, settings
from models import bundle, registry


def newest_bundle(config: Settings) -> Path:
    """The bundle trained last.

    Raises:
        NoChampionError: none was trained yet.
    """
    folders = sorted(path for path in config.bundles.glob("*") if path.is_dir())
    if not folders:
        raise registry.NoChampionError("no trained bundle: run `kairos train` first")
    return folders[-1]


def publish_bundle(folder: Path) -> str:
    """Copy the bundle into the model store; returns its tag."""
    about = bundle.manifest(folder)
    return registry.publish(folder, {key: about[key] for key in ("fingerprint", "code_version", "feature_service")})


def build_bento() -> str:
    """Build the Bento of the service with the champion in it, as `pyproject.toml` says; returns the Bento's tag.

    Raises:
        BentoError: the build failed; with its output.
    """
    # In a process of its own: the service's module looks for the champion once, when it is imported.
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    environment = dict(os.environ) | {"KAIROS_HOME": str(settings().home)}
    built = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    if built.returncode:
        raise BentoError(f"bentoml build failed: {built.stderr.strip()[-2000:]}")
    return built.stdout.strip().rpartition("__tag__:")[2]


@task(name="publish-bundle", retries=1, retry_delay_seconds=2)
def _publish(folder: Path) -> str:
    return publish_bundle(folder)


@task(name="crown-champion", retries=1, retry_delay_seconds=2)
def _crown(tag: str) -> registry.Champion:
    return registry.crown(settings().champion, tag)


@task(name="build-bento", retries=1, retry_delay_seconds=5)
def _build() -> str:
    return build_bento()


@flow(name="publish", flow_run_name=run_name)
def publish_flow(folder: Path | None = None) -> str:
    """Publish a bundle, by default the newest, put it into service and build its Bento; returns the model's tag."""
    tag = _publish(folder or newest_bundle(settings()))
    _crown(tag)
    bento = _build()
    create_markdown_artifact(key="champion", markdown=f"In service: `{tag}`, packed as `{bento}`")
    return tag
