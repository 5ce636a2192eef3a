"""The publishing step: a bundle goes into BentoML's model store, becomes champion, and is built into a Bento."""

from __future__ import annotations

from pathlib import Path

import bentoml
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.naming import run_name
from infra.settings import PROJECT_ROOT, Settings, settings
from models import bundle, registry

SERVICE = "services.service:Kairos"


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


def build_bento(tag: str) -> str:
    """Build the Bento of the service with this bundle in it; returns the Bento's tag."""
    bento = bentoml.bentos.build(SERVICE, build_ctx=str(PROJECT_ROOT), models=[tag])
    return str(bento.tag)


@task(name="publish-bundle", retries=1, retry_delay_seconds=2)
def _publish(folder: Path) -> str:
    return publish_bundle(folder)


@task(name="crown-champion", retries=1, retry_delay_seconds=2)
def _crown(tag: str) -> registry.Champion:
    return registry.crown(settings().champion, tag)


@task(name="build-bento", retries=1, retry_delay_seconds=5)
def _build(tag: str) -> str:
    return build_bento(tag)


@flow(name="publish", flow_run_name=run_name)
def publish_flow(folder: Path | None = None) -> str:
    """Publish a bundle, by default the newest, put it into service and build its Bento; returns the model's tag."""
    tag = _publish(folder or newest_bundle(settings()))
    _crown(tag)
    bento = _build(tag)
    create_markdown_artifact(key="champion", markdown=f"In service: `{tag}`, packed as `{bento}`")
    return tag
