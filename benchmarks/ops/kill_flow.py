"""kill -9 of a flow at a moment drawn by lot, and the flow once more: nothing may be lost, doubled or half-done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from feature_repo.lake import Lake
from flows.demo import COMPLETE_JOURNEY
from infra.settings import PROJECT_ROOT, Settings, environment

HOUSEHOLDS: Final = 80
KILLS: Final = 20
SEED: Final = 7
FLOWS: Final = {
    "ingest": f"from flows.ingest_flow import ingest_flow as f; f({COMPLETE_JOURNEY!r}, dict(households={HOUSEHOLDS}))",
    "features": "from flows.features import features_flow; features_flow()",
    "train": "from flows.train import train_flow; train_flow()",
    "publish": "from flows.publish import publish_flow; publish_flow()",
    "evaluate": "from flows.evaluate import evaluate_flow; evaluate_flow()",
}
"""In the order of the pipeline -> what runs it, as a worker would, in a process of its own"""


def measure() -> dict[str, Any]:
    """The figure: after how many of the kills a rerun completes and all is there once."""
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        root = Path(folder)
        took = _undisturbed(root)
        whole = _content(_config(root / "whole"))
        found = []
        for number in range(KILLS):
            name = list(FLOWS)[number % len(FLOWS)]
            # The first third is the interpreter that starts.
            after = float(random.uniform(0.33, 1.0)) * took[name]
            found.append(_killed(root, name, after, whole))
            wrong = "; ".join(found[-1]["wrong"]) or "whole"
            print(f"  {name} killed after {after:.1f} of {took[name]:.1f} s: {wrong}", flush=True)
    sound = sum(not each["wrong"] for each in found)
    return {
        "value": sound,
        "unit": f"of {KILLS} kills after which a rerun completes, with nothing lost or doubled",
        "target": KILLS,
        "met": sound == KILLS,
        "detail": {"kills": found, "households": HOUSEHOLDS, "undisturbed_s": took},
    }


def _undisturbed(root: Path) -> dict[str, float]:
    """Runs every flow once and keeps the home as it is before each; returns their seconds."""
    home, took = root / "whole", {}
    home.mkdir()
    for name in FLOWS:
        shutil.copytree(home, root / f"before {name}", symlinks=True)
        began = time.perf_counter()
        status = _start(name, home).wait()
        took[name] = round(time.perf_counter() - began, 1)
        if status:
            raise RuntimeError(f"{name} ended with {status} undisturbed")
    return took


def _killed(root: Path, name: str, after: float, whole: dict[str, Any]) -> dict[str, Any]:
    home = root / "killed"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(root / f"before {name}", home, symlinks=True)
    process = _start(name, home)
    try:
        process.wait(after)
        ended = True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        ended = False
    rest = list(FLOWS)[list(FLOWS).index(name) :]
    status = {flow: _start(flow, home).wait() for flow in rest}
    wrong = [f"{flow} ended with {code}" for flow, code in status.items() if code]
    content = _content(_config(home))
    wrong += [f"{what} is {content[what]}, not {value}" for what, value in whole.items() if content[what] != value]
    doctor = subprocess.run(
        [str(Path(sys.executable).with_name("kairos")), "doctor"],
        cwd=PROJECT_ROOT, env=_environment(home) | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wrong += [line for line in doctor.stdout.splitlines() if "error" in line] if doctor.returncode else []
    return {"flow": name, "after_s": round(after, 2), "ended_before": ended, "wrong": wrong}


def _start(name: str, home: Path) -> subprocess.Popen[bytes]:
    code = f"from flows.quiet import quiet_frameworks; quiet_frameworks(); {FLOWS[name]}"
    # With a server of its own, which dies with it: the flow's process group is killed as a machine would be.
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=PROJECT_ROOT, env=_environment(home), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _environment(home: Path) -> dict[str, str]:
    own = {"BENTOML_HOME": str(home / "bentoml"), "PREFECT_HOME": str(home.with_name(f"{home.name}-prefect"))}
    return environment(_config(home)) | own


def _config(home: Path) -> Settings:
    return Settings(home=home, reports=home / "reports", training_cuts=3)


def _content(config: Settings) -> dict[str, Any]:
    """What must be the same however it came about."""
    lake = Lake(config.lake)
    summary = lake.summary()
    [(ids,)] = duckdb.sql(f"SELECT count(DISTINCT event_id) FROM read_parquet('{lake.events}')").fetchall()
    snapshots = sorted(str(file.relative_to(config.features)) for file in config.features.rglob("*.parquet"))
    return {
        **{name: str(value) for name, value in summary.items()},
        "event ids": ids,
        "items": lake.fingerprints(lake.items, [None]),
        "snapshots": snapshots,
    }
