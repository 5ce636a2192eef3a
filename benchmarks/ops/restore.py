"""A home backed up, deleted and restored: whether the service answers as before, to whoever asks and whoever tells."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from benchmarks.ops.own_home import own_home
from benchmarks.serving.running import Running, running
from benchmarks.serving.sample import shop
from feature_repo.file_lock import file_lock
from feature_repo.refresh import TURN
from flows.backup import back_up
from flows.restore import restore
from flows.serving import service_clock
from infra.settings import Settings

HOUSEHOLDS: Final = 600
"""Of 2,469: a training takes a minute and not five."""
USERS: Final = 500
ITEMS: Final = 10
NEW: Final = "user-of-before-the-backup"
"""Only the event log and the online store know this user."""
EVENTS: Final = 5
CAUGHT_UP_S: Final = 60.0
ASKED_AFTER_S: Final = 60.0
PACE_S: Final = 0.05
"""Each user is asked at the same moment of the service's clock before and after, this far from the next one: where a
feature is the time since something, a tree that is asked a second later may take another branch. For the same reason
nobody refreshes the item features meanwhile."""
LATE_S: Final = 1.0
SCORES_APART: Final = 1e-4
"""Most that a score may differ, of the size of the answer's largest: moments are the same to some milliseconds."""


def measure(households: int = HOUSEHOLDS) -> dict[str, Any]:
    """The figure: of how many users the answer is not the one of before."""
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - began, 1)

    with own_home(households, KAIROS_TRAINING_CUTS="3") as config:
        known = shop()
        users = [*known.users[:USERS], NEW]
        told = [
            {"event_id": f"before-{n}", "user_id": NEW, "item_id": item, "event_type": kind}
            for n, (_, item, kind) in enumerate(known.events[-EVENTS:])
        ]
        clock = service_clock(config)
        with _unrefreshed(config), running(**clock) as service:
            first = _tell(service, told)
            _wait_until_applied(service)
            before = _answers(service, users, clock)
        with step("back up"):
            made = back_up(config, config.backups_folder, keep=1, now=datetime.now(UTC))
        home_mb = _size_mb(config)
        shutil.rmtree(config.home)
        with step("restore"):
            restore(made.folder, config, now=datetime.now(UTC))
        began, clock = time.perf_counter(), service_clock(config)
        with _unrefreshed(config), running(**clock) as service:
            seconds["until the service is ready"] = round(time.perf_counter() - began, 1)
            after = _answers(service, users, clock)
            again = _tell(service, told)
    other = {user: [before[user], after[user]] for user in users if not _same(before[user], after[user])}
    apart = max((_apart(before[user], after[user]) for user in users if user not in other), default=None)
    steps = sorted({answer["served_by"] for answer in (*before.values(), *after.values())})
    whole = (first["accepted"], again["duplicates"]) == (EVENTS, EVENTS) and before[NEW]["user_known"]
    return {
        "value": len(other),
        "unit": f"of {len(users)} users answered otherwise than before",
        "target": 0,
        "met": not other and whole and steps == ["full"],
        "detail": {
            "seconds": seconds,
            "backup_mb": round(made.manifest.bytes / 1e6, 1),
            "backup_files": len(made.manifest.files),
            "home_mb": home_mb,
            "served_by": steps,
            "largest difference of a score": apart,
            "events of before, told again, that were known": again["duplicates"],
            "households": households,
            "otherwise": dict(list(other.items())[:3]),
        },
    }


def _unrefreshed(config: Settings) -> AbstractContextManager[None]:
    return file_lock(config.home / TURN, "the benchmark")


def _tell(service: Running, events: Sequence[dict[str, str]]) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/v1/events", json=list(events), timeout=30)
    answer.raise_for_status()
    return answer.json()


def _wait_until_applied(service: Running) -> None:
    deadline = time.monotonic() + CAUGHT_UP_S
    while service.health()["events_waiting"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the features have not caught up within {CAUGHT_UP_S:.0f} s: {service.log}")
        time.sleep(0.1)


def _answers(service: Running, users: Sequence[str], clock: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """User -> the answer.

    Args:
        clock: that of the service.

    Raises:
        RuntimeError: the machine was too slow to ask a user at its moment.
    """
    found = {}
    first = datetime.fromisoformat(clock["KAIROS_CLOCK_BEGAN"]).timestamp() + ASKED_AFTER_S
    with httpx.Client(base_url=service.url, timeout=30) as client:
        for n, user in enumerate(users):
            if (early := first + n * PACE_S - time.time()) < -LATE_S:
                raise RuntimeError(f"user {n} of {len(users)} is asked {-early:.1f} s late")
            time.sleep(max(early, 0.0))
            answer = client.post("/v1/recommend", json={"user_id": user, "k": ITEMS})
            answer.raise_for_status()
            found[user] = answer.json()
    return found


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """The same items in the same order, of the same model, by scores that are as good as equal."""
    told = [[answer["model_version"], [item["item_id"] for item in answer["items"]]] for answer in (before, after)]
    return told[0] == told[1] and _apart(before, after) <= SCORES_APART


def _apart(before: dict[str, Any], after: dict[str, Any]) -> float:
    """The largest difference of two scores of one place, of the size of the largest: one near 0 has none of its own."""
    pairs = [(a["score"], b["score"]) for a, b in zip(before["items"], after["items"], strict=True)]
    size = max((abs(score) for score, _ in pairs), default=0.0)
    return max((abs(a - b) for a, b in pairs), default=0.0) / max(size, 1e-9)


def _size_mb(config: Settings) -> float:
    return round(sum(file.lstat().st_size for file in config.home.rglob("*") if file.is_file()) / 1e6, 1)
