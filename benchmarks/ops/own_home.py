"""An installation of a benchmark's own, in this process and those that it starts; the user's stays as it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.demo import COMPLETE_JOURNEY
from flows.pipeline import pipeline_flow
from infra.settings import Settings, settings


@contextmanager
def empty_home(**choices: str) -> Iterator[Settings]:
    """Its settings, with nothing in it.

    Meant for a process that measures one figure and ends: the environment is not put back.

    Args:
        choices: further variables of the environment.
    """
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        root = Path(folder)
        os.environ |= {
            "KAIROS_HOME": str(root / "home"),
            "KAIROS_REPORTS": str(root / "reports"),
            "KAIROS_BACKUPS": str(root / "backups"),
            "BENTOML_HOME": str(root / "home" / "bentoml"),
            "PREFECT_HOME": str(root / "prefect"),
            **choices,
        }
        settings.cache_clear()
        yield settings()


@contextmanager
def own_home(households: int, **choices: str) -> Iterator[Settings]:
    """The same, after the pipeline has run on the first households of Complete Journey."""
    with empty_home(**choices) as config:
        pipeline_flow(COMPLETE_JOURNEY, {"households": households})
        yield config
