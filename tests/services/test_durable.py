"""What was acknowledged outlives the service, and what cannot be taken is refused whole; over HTTP."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from .conftest import Running, Shop, serving

BATCH = 50


def _batch(name: str) -> list[dict[str, Any]]:
    return [
        {"event_id": f"{name}-{n}", "user_id": "visitor", "item_id": f"i{n % 48}", "event_type": "view"}
        for n in range(BATCH)
    ]


def test_a_service_that_is_killed_loses_nothing_and_no_worker_that_is(shop: Shop, tmp_path: Path) -> None:
    own = shop.copy(tmp_path / "home")
    bound = {"KAIROS_MAX_EVENTS_WAITING": str(2 * BATCH)}
    with serving(own, tmp_path / "first", more=bound) as service:
        # Before its applier is ready, so that nothing is in the features when it is killed.
        accepted = 0
        for n in range(10):
            answer = service.client.post("/events", json=_batch(f"batch {n}"))
            if answer.status_code != 200:
                break
            accepted += answer.json()["accepted"]
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_requests")
        assert answer.headers["Retry-After"] == "2"
        service.kill()
    assert accepted % BATCH == 0
    assert accepted > 2 * BATCH

    with serving(own, tmp_path / "second", more={"KAIROS_WORKERS": "2"}) as service:
        # Those that were refused are new, the others are not.
        again = [service.client.post("/events", json=_batch(f"batch {n}")).json() for n in range(10)]
        assert sum(answer["duplicates"] for answer in again) == accepted
        assert sum(answer["accepted"] for answer in again) == 10 * BATCH - accepted
        service.until_known()
        deadline = time.monotonic() + 20
        while service.client.get("/healthz").json()["events_waiting"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert service.client.post("/recommend", json={"user_id": "visitor"}).json()["user_known"] is True
        _the_other_one_takes_over(service, own.settings.home / "applier.lock")


def _the_other_one_takes_over(service: Running, lock: Path) -> None:
    """When the worker is killed whose applier works."""
    deadline = time.monotonic() + 120
    while sum(map(_stands_in_line, _appliers(service))) < 2:
        assert time.monotonic() < deadline, service.log()
        time.sleep(0.2)
    [working] = [process for process in _appliers(service) if process.pid == _holder(lock)]
    os.kill(working.ppid(), signal.SIGKILL)
    deadline = time.monotonic() + 60
    # The one that worked ends a moment after its worker.
    while _holder(lock) in (working.pid, None) or not _is_known(service):
        assert time.monotonic() < deadline, service.log()
        time.sleep(0.1)


def _appliers(service: Running) -> list[psutil.Process]:
    """Children of the service's workers."""
    return [process for process in service.processes() if "feature_repo.apply_worker" in process.cmdline()]


def _stands_in_line(applier: psutil.Process) -> bool:
    return any(Path(file.path).name == "applier.lock" for file in applier.open_files())


def _holder(lock: Path) -> int | None:
    """Process id of who has a file's lock; None: nobody."""
    lines = [
        line.split()
        for line in Path("/proc/locks").read_text().splitlines()
        if f":{lock.stat().st_ino} " in line and "->" not in line
    ]
    return int(lines[0][4]) if lines else None


def _is_known(service: Running) -> bool:
    try:
        answer = service.client.post("/events", json=_batch("after the kill"))
    except httpx.TransportError:  # the connection was to the worker that is gone
        return False
    return bool(answer.json()["features_updated"])
