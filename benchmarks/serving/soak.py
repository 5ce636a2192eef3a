"""The figure `soak`: scripted shoppers for half an hour at half of the top rate; memory and tail stay as they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.serving.ledger import Ledger
from benchmarks.serving.load import Load, loaded
from benchmarks.serving.numbers import figure, percentiles_ms
from benchmarks.serving.plan import QUICK, Plan
from benchmarks.serving.running import Running, running
from benchmarks.serving.sample import Shop, shop
from benchmarks.serving.throughput import CLIENTS
from benchmarks.serving.traffic import Recommends
from benchmarks.serving.turns import OURS
from infra.settings import PROJECT_ROOT, settings

MEMORY_WITHIN: Final = 2.0
"""Per cent by which the last third's memory may differ from the middle third's."""
P99_WITHIN: Final = 20.0
"""Per cent by which the last third's p99 may be above the first third's."""
SHARE: Final = 0.5
STEPS_PER_S: Final = 1.0
"""Of each shopper."""
LOOK_EVERY_S: Final = 10.0
Floats = npt.NDArray[np.float64]


def measure(plan: Plan) -> dict[str, Any]:
    """The figure: the change of memory in per cent."""
    people, ledger = shop(), Ledger()
    with running() as service:
        top, said_by = _top_rate(service, people, plan)
        rate = SHARE * top
        memory, times = _shopping(service, people, rate, plan)
        caught_up_s = ledger.settled_s(plan.settle_s)
    ledger.close()
    began = memory[0, 0]
    steady = memory[memory[:, 0] >= began + plan.soak_warm_up_s]
    _, middle, last = np.array_split(steady[:, 1], 3)
    change = round(100 * (float(np.mean(last) / np.mean(middle)) - 1), 2)
    answered = times[times[:, 2] == 200]
    warm = answered[answered[:, 0] >= began + plan.soak_warm_up_s]
    thirds = [percentiles_ms(part / 1e3) for part in np.array_split(warm[:, 1], 3)]
    slower = round(100 * (thirds[2]["p99_ms"] / thirds[0]["p99_ms"] - 1), 1)
    failed = len(times) - len(answered)
    return {
        "soak": figure(
            change,
            "% of memory, last third against the middle one",
            MEMORY_WITHIN,
            abs(change) <= MEMORY_WITHIN and slower <= P99_WITHIN and failed == 0,
            seconds=plan.soak_s,
            asked_per_s=round(rate, 1),
            top_rate={"per_s": top, "from": said_by},
            answered_per_s=round(len(answered) / plan.soak_s, 1),
            failed=failed,
            p99_change_percent={"value": slower, "target": P99_WITHIN},
            latency_by_third=thirds,
            p99_ms_by_minute=_by_minute(answered, began),
            memory_mb=[round(mb) for mb in memory[:, 1]],
            features_caught_up_s=caught_up_s,
        )
    }


def _top_rate(service: Running, people: Shop, plan: Plan) -> tuple[float, str]:
    """What `throughput` has found with the same plan; else a short look."""
    report = settings().reports / "serving.json"
    if report.exists():
        detail = json.loads(report.read_text())["figures"].get("throughput", {}).get("detail", {})
        if "per_s" in detail and detail["quick"] == (plan == QUICK):
            return float(detail["per_s"][OURS]), "the figure `throughput`"
    outcome = loaded(Load(service.port, plan.block_s, CLIENTS), Recommends(people.users))
    return round(outcome.per_s, 1), f"{plan.block_s:g} s before"


def _shopping(service: Running, people: Shop, rate: float, plan: Plan) -> tuple[Floats, Floats]:
    """Let locust's shoppers go shopping.

    Returns:
        [looks, 2] moment (epoch s) and MB of all of the service's processes; [requests, 3] moment, ms, status.
    """
    folder = settings().home.parent
    times, script = folder / "times.csv", folder / "shoppers.json"
    items = sorted({item for _, item, _ in people.events})
    content = {"users": people.users, "items": items, "steps_per_s": STEPS_PER_S, "times": str(times)}
    script.write_text(json.dumps(content))
    shoppers = max(round(rate / STEPS_PER_S), 1)
    command = [sys.executable, "-m", "locust", "-f", "benchmarks/serving/shoppers.py", "--headless", "--only-summary"]
    options = ["-u", str(shoppers), "-r", str(max(shoppers / 5, 1)), "-H", service.url, "-t", f"{plan.soak_s:g}s"]
    memory = []
    with (folder / "locust.log").open("wb") as log:
        locust = subprocess.Popen(
            [*command, *options],
            cwd=PROJECT_ROOT,
            env=os.environ | {"KAIROS_SHOPPERS": str(script)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + plan.soak_s + 120
        while locust.poll() is None and time.monotonic() < deadline:
            memory.append((time.time(), service.memory_mb()))
            time.sleep(min(LOOK_EVERY_S, plan.soak_s / 20))
    if locust.poll() is None:
        locust.kill()
    if not times.exists() or not times.stat().st_size:
        raise SystemExit(f"nobody went shopping: {Path(log.name).read_text()[-2000:]}")
    return np.array(memory), np.loadtxt(times, delimiter=",", usecols=(0, 1, 2), ndmin=2)


def _by_minute(answered: Floats, began: float) -> list[float]:
    minute = ((answered[:, 0] - began) // 60).astype(int)
    return [
        round(float(np.percentile(answered[minute == number, 1], 99)), 2) for number in sorted(set(minute.tolist()))
    ]
