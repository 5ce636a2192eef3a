"""What all tests share."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness

import infra.settings  # noqa: F401  (turns telemetry off before the frameworks are imported)

# At the very end DuckDB's binding prints a page about what the interpreter has not freed. Registered first, run last.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


@pytest.fixture(scope="session", autouse=True)
def prefect_harness() -> Iterator[None]:
    """One Prefect server for the session: starting it takes about ten seconds."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
