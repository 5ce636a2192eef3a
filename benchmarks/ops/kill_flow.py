"""kill -9 of a flow at a moment drawn by lot, and the flow once more: nothing may be lost, doubled or half-done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.ops.same_home import differences
from flows.backup_manifest import BackupManifest, backups_in
from flows.demo import COMPLETE_JOURNEY
from flows.errors import BackupError
from infra.settings import PROJECT_ROOT, Settings, environment
from models.registry import champion

HOUSEHOLDS: Final = 80
KILLS: Final = 20
SEED: Final = 7
WHOLE, KILLED = "whole", "killed"
"""Homes: of the flows that nobody disturbed, and of those that are killed"""
_INGEST: Final = (
    "from flows.ingest_flow import ingest_flow as f; "
    f"[f({COMPLETE_JOURNEY!r}, dict(households=n)) for n in ({HOUSEHOLDS // 2}, {HOUSEHOLDS})]"
)
"""Half of the second batch is known by then, and there are two files to be made one."""
_CATCH_UP: Final = (
    "from infra.settings import settings; from models.registry import catch_up, champion; "
    "pointer = settings().champion; catch_up(pointer, None, of=champion(pointer).tag); "
    "from flows.catching_up import catch_up_flow; catch_up_flow()"
)
"""Publishing has caught it up already: it has to be done anew."""
PIPELINE: Final = {
    "ingest": _INGEST,
    "compact": "from flows.compaction_flow import compact_flow; compact_flow()",
    "features": "from flows.features import features_flow; features_flow()",
    "train": "from flows.train import train_flow; train_flow()",
    "publish": "from flows.publish import publish_flow; publish_flow()",
    "evaluate": "from flows.evaluate import evaluate_flow; evaluate_flow()",
}
"""In its order -> what runs it, as a worker would, in a process of its own"""
CARE: Final = {
    "refresh": "from flows.refresh import refresh_flow; refresh_flow()",
    "catch-up": _CATCH_UP,
    "monitor": "from flows.monitor import monitor_flow; monitor_flow()",
    "backup": "from flows.backup_flow import backup_flow; backup_flow()",
    "prune": "from flows.prune_flow import prune_flow; prune_flow(keep_days=1e-9)",
}
"""What is done to a home that is whole; nothing has to follow it."""
FLOWS: Final = PIPELINE | CARE


def measure(kills: int = KILLS) -> dict[str, Any]:
    """The figure: after how many of the kills of a living run a rerun completes and all is there once."""
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        root = Path(folder)
        took = _undisturbed(root)
        found: list[dict[str, Any]] = []
        too_late = 0
        while len(found) < kills:
            name = list(FLOWS)[len(found) % len(FLOWS)]
            # The first third is the interpreter that starts.
            after = float(random.uniform(0.33, 1.0)) * took[name]
            if not _killed(root, name, after):
                too_late += 1  # it had ended: drawn again
                continue
            wrong = _wrong_after_rerun(root, name)
            found.append({"flow": name, "after_s": round(after, 2), "wrong": wrong})
            print(f"  {name} killed after {after:.1f} of {took[name]:.1f} s: {'; '.join(wrong) or 'whole'}", flush=True)
    sound = sum(not each["wrong"] for each in found)
    return {
        "value": sound,
        "unit": f"of {kills} kills after which a rerun completes, with nothing lost or doubled",
        "target": kills,
        "met": sound == kills,
        "detail": {"kills": found, "drawn_too_late": too_late, "households": HOUSEHOLDS, "undisturbed_s": took},
    }


def _undisturbed(root: Path) -> dict[str, float]:
    """Runs every flow once and keeps the home as it is before each; returns their seconds."""
    home, took = root / WHOLE, {}
    home.mkdir()
    for name in FLOWS:
        shutil.copytree(home, root / f"before {name}", symlinks=True)
        began = time.perf_counter()
        status = _start([name], home).wait()
        took[name] = round(time.perf_counter() - began, 1)
        if status:
            raise RuntimeError(f"{name} ended with {status} undisturbed: {_log(home).read_text()[-2000:]}")
    return took


def _killed(root: Path, name: str, after: float) -> bool:
    """Runs a flow over the home as it was before it, and kills it after some seconds; False if it had ended before."""
    home = root / KILLED
    for of_before in (home, _config(home).backups_folder):
        shutil.rmtree(of_before, ignore_errors=True)
    shutil.copytree(root / f"before {name}", home, symlinks=True)
    process = _start([name], home)
    try:
        if status := process.wait(after):
            raise RuntimeError(f"{name} ended with {status} before it was killed")
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def _wrong_after_rerun(root: Path, name: str) -> list[str]:
    """Runs the flow and those after it on what the kill left; what is then not as in the home that was left alone."""
    home, names = root / KILLED, list(PIPELINE)
    later = names[names.index(name) + 1 :] if name in PIPELINE else []
    wrong = [
        f"{', '.join(flows)} ended with {status}: {_log(home).read_text()[-1000:]}"
        for flows in ([name], later)
        if flows and (status := _start(flows, home).wait())
    ]
    wanted = root / (f"before {next(iter(CARE))}" if name in PIPELINE else WHOLE)
    wrong += differences(_config(wanted), _config(home)) + _not_done(name, _config(home))
    doctor = subprocess.run(
        [str(Path(sys.executable).with_name("kairos")), "doctor"],
        cwd=PROJECT_ROOT, env=_environment(home) | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return wrong + ([line for line in doctor.stdout.splitlines() if "error" in line] if doctor.returncode else [])


def _not_done(name: str, config: Settings) -> list[str]:
    """What a flow that neither the lake nor a snapshot shows has left undone."""
    if name == "catch-up":
        held = champion(config.champion)
        return [] if held.serves != held.tag else ["the champion is not caught up"]
    if name == "backup":
        whole = backups_in(config.backups_folder)
        try:
            BackupManifest.of(whole[-1]).check(whole[-1])
        except (IndexError, BackupError) as error:
            return [f"no backup: {error}"]
        return [f"{left} was left" for left in config.backups_folder.glob("*.partial")]
    return []


def _start(names: Sequence[str], home: Path) -> subprocess.Popen[bytes]:
    """Flows in a process of their own, one after the other."""
    code = "; ".join(["from flows.quiet import quiet_frameworks; quiet_frameworks()", *(FLOWS[name] for name in names)])
    with _log(home).open("wb") as log:
        # With a server of its own, which dies with it: the flow's process group is killed as a machine would be.
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=PROJECT_ROOT, env=_environment(home), start_new_session=True, stdout=log, stderr=log,
        )  # fmt: skip


def _log(home: Path) -> Path:
    """What the flow that was started last over a home has said."""
    return home.with_name(f"{home.name}.log")


def _environment(home: Path) -> dict[str, str]:
    own = {"BENTOML_HOME": str(home / "bentoml"), "PREFECT_HOME": str(home.with_name(f"{home.name}-prefect"))}
    # As for the command line: on a busy machine a server takes more than the default 20 s to start.
    return environment(_config(home)) | own | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}


def _config(home: Path) -> Settings:
    backups = home.with_name(f"{home.name}-backups")  # never those of the installation
    return Settings(home=home, reports=home / "reports", backups=backups, training_cuts=3)
