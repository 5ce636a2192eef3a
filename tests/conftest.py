"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: threads of several workers that wait for each other in a loop take the cores away.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.quiet import quiet_exit
from infra.settings import PROJECT_ROOT  # and turns telemetry off before the frameworks are imported

quiet_exit()

SHARED = ("running", "pipeline")
"""Fixtures of the session that are too dear to make in every worker."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files go to a worker as a whole, and those that share a dear fixture to one; the longest come first.

    Within a file nothing changes place: fixtures of modules and files are made once, as without workers.
    """
    shared = {item.path: name for item in items for name in SHARED if _is_of_session(item, name)}
    names = {path: path.relative_to(PROJECT_ROOT).as_posix() for path in dict.fromkeys(item.path for item in items)}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(shared.get(item.path, names[item.path])))
    folders = ("tests/services", "tests/flows")  # where most of the time goes

    def place(item: pytest.Item) -> tuple[int, str]:
        if item.path in shared:
            return 0, shared[item.path]
        return next((n for n, folder in enumerate(folders, 1) if names[item.path].startswith(folder)), 3), ""

    items.sort(key=place)


def _is_of_session(item: pytest.Item, fixture: str) -> bool:
    found: Sequence[pytest.FixtureDef[object]] = getattr(item, "_fixtureinfo").name2fixturedefs.get(fixture, ())  # noqa: B009
    return any(one.scope == "session" for one in found)


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
