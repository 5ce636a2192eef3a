"""A lock is that of the file that is there, not of one that was moved aside while it was waited for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from feature_repo.errors import FeaturesBusyError
from feature_repo.file_lock import file_lock
from flows.errors import LakeBusyError
from flows.lake_writer import lake_lock
from infra.settings import Settings


def of_features(home: Path, wait_s: float) -> AbstractContextManager[Any]:
    return file_lock(home / "it.lock", "it", wait_s)


def of_the_lake(home: Path, wait_s: float) -> AbstractContextManager[Any]:
    return lake_lock(Settings(home=home), wait_s)


@pytest.mark.parametrize("lock", [of_features, of_the_lake])
def test_who_waited_for_a_file_that_was_moved_takes_the_one_that_is_there(lock: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def wait() -> None:
        with lock(home, 30), pytest.raises((FeaturesBusyError, LakeBusyError)), lock(home, 0):
            pass

    with ThreadPoolExecutor(1) as others:
        with lock(home, 0):
            other = others.submit(wait)
            with pytest.raises(TimeoutError):
                other.result(timeout=0.5)
            home.rename(tmp_path / "aside")
        other.result(timeout=30)
    assert list(home.glob("*.lock"))


def test_who_is_busy_is_named(tmp_path: Path) -> None:
    with (
        of_features(tmp_path, 0),
        pytest.raises(FeaturesBusyError, match=r"it is held by process \d+ since"),
        of_features(tmp_path, 0),
    ):
        pass
