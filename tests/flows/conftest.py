"""One home for the tests of whole flows, on a slice of the real data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.demo import COMPLETE_JOURNEY, run_demo
from flows.pipeline import PipelineReport
from infra.settings import Settings, settings
from tests.flows.killer import Killer

HOUSEHOLDS = 80


@pytest.fixture(scope="session")
def slice_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a fresh home, as a process that was started with KAIROS_HOME sees them."""
    patch = pytest.MonkeyPatch()
    home: Path = tmp_path_factory.mktemp("kairos")
    patch.setenv("KAIROS_HOME", str(home / "home"))
    patch.setenv("KAIROS_REPORTS", str(home / "reports"))
    patch.setenv("KAIROS_TRAINING_CUTS", "3")
    patch.setenv("KAIROS_PORT", "39219")  # where nothing listens
    settings.cache_clear()
    yield settings()
    patch.undo()
    settings.cache_clear()


@pytest.fixture
def process_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of an empty home, for one test, as flows and commands see them."""
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAIROS_TRAINING_CUTS", "1")
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.fixture(scope="session")
def pipeline(slice_home: Settings) -> PipelineReport:
    """The whole pipeline, once, as the demo runs it, on the first households of the real data."""
    return run_demo(slice_home, COMPLETE_JOURNEY, {"households": HOUSEHOLDS})


@pytest.fixture(scope="session")
def killer() -> Killer:
    """One for all tests: Python keeps an audit hook for good."""
    return Killer()
