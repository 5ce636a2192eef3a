"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: threads of several workers that wait for each other in a loop take the cores away.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a child compiles the next one need not compile anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
from prefect.testing.utilities import prefect_test_harness
from xdist.scheduler import LoadScopeScheduling

import infra.settings  # noqa: F401  (turns telemetry off before the frameworks are imported)
from flows.quiet import quiet_exit

quiet_exit()

TOGETHER = {
    "tests/services/test_client.py": "running",
    "tests/services/test_items.py": "running",
    "tests/services/test_restored.py": "running",  # whose shop it shares
    "tests/services/test_serve.py": "running",  # as well
    "tests/services/test_service.py": "running",
    "tests/services/test_swap.py": "running",
    "tests/flows/test_doctor.py": "pipeline",
    "tests/flows/test_gate.py": "pipeline",
    "tests/flows/test_monitor.py": "pipeline",
    "tests/flows/test_pipeline.py": "pipeline",
    "tests/flows/test_platform.py": "pipeline",
    "tests/flows/test_trial.py": "pipeline",
}
"""Files that share a fixture of the session which is too dear to make in every worker."""
LONGEST = ("tests/services/", "tests/flows/")
"""Where most of the time goes."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Files go to a worker as a whole, so that fixtures of modules are made once; those of `TOGETHER` to the same one.

    Marks would say it too, but pytest 9.2 no longer lets xdist write them into the tests' names.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return TOGETHER.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no worker is left with it; within a file nothing changes place.

    Raises:
        pytest.UsageError: a file is missing in `TOGETHER`.
    """
    for file, fixture in {
        (_file(item), name) for item in items for name in set(TOGETHER.values()) if _is_of_session(item, name)
    }:
        if TOGETHER.get(file) != fixture:
            raise pytest.UsageError(f"{file} uses {fixture!r}: name it in TOGETHER, {Path(__file__)}")

    def place(item: pytest.Item) -> tuple[bool, str, int]:
        folder = next((n for n, start in enumerate(LONGEST) if _file(item).startswith(start)), len(LONGEST))
        return _file(item) not in TOGETHER, TOGETHER.get(_file(item), ""), folder

    items.sort(key=place)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


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
