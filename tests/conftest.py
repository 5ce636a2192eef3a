"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness

import infra.settings  # noqa: F401  (turns telemetry off before the frameworks are imported)
from flows.quiet import quiet_exit

quiet_exit()


@pytest.fixture(scope="session", autouse=True)
def bentoml_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One home for the session: BentoML looks where it is once, at whichever test needs it first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(tmp_path_factory.mktemp("bentoml")))
        yield


@pytest.fixture(scope="session", autouse=True)
def prefect_harness() -> Iterator[None]:
    """One Prefect server for the session: starting it takes about ten seconds."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
