"""Where a request's time goes: per stage as the service counts it, and per function as py-spy sees the worker.

    python -m benchmarks.serving.profile [--quick]

Prints both as tables and writes reports/serving_profile.json. Needs py-spy (`pip install py-spy`) and the right to
look into other processes: root, or a `ptrace_scope` of 0.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.own_process import in_own_process
from benchmarks.serving.load import Load, Outcome, loaded, loading
from benchmarks.serving.numbers import percentiles_ms
from benchmarks.serving.plan import FULL, QUICK, Plan
from benchmarks.serving.running import Running, running
from benchmarks.serving.traffic import Recommends
from flows.json_file import write_json
from flows.measure import machine
from flows.quiet import quiet_exit
from infra.settings import settings

REPORT: Final = "serving_profile.json"
SAMPLES_PER_S: Final = 200
BUSY: Final = 16
TOP: Final = 25
_STAGE: Final = re.compile(r'^kairos_stage_seconds_(sum|count)\{.*?stage="(\w+)".*?\} (\S+)', re.MULTILINE)
_FRAME: Final = re.compile(r"^(?P<function>.+) \((?P<file>.+?)(?::\d+)?\)$")


def main() -> None:
    """Profile one client, then many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--measure", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        quiet_exit()
        given.measure.write_text(json.dumps(_profile(QUICK if given.quick else FULL)))
        return
    from benchmarks.serving.bed import bed  # Feast takes seconds, and the processes of the load import this file too

    _py_spy()
    with bed(settings()) as (_, environment):
        profile = in_own_process("benchmarks.serving.profile", ["--quick"] if given.quick else [], environment)
    if "clients" not in profile:
        raise SystemExit(f"nothing was measured: {profile['detail']}")
    file = settings().reports / REPORT
    write_json(file, {**profile, "machine": machine(), "when": datetime.now(UTC).isoformat(timespec="seconds")})
    _print(profile)
    print(f"Report: {file}")


def _profile(plan: Plan) -> dict[str, Any]:
    from benchmarks.serving.sample import shop
    from benchmarks.serving.synthetic import shop_of

    users = shop().users
    seconds = plan.block_s * plan.rounds
    with running(**shop_of(plan.items)) as service:
        loaded(Load(service.port, plan.warm_up_s), Recommends(users))
        return {"clients": {str(n): _under(service, Load(service.port, seconds, n), users) for n in (1, BUSY)}}


def _under(service: Running, load: Load, users: list[str]) -> dict[str, Any]:
    """Stages and latencies without the profiler, then the functions with it: it slows what it looks at."""
    before = _stages(service)
    outcome: Outcome = loaded(load, Recommends(users))
    after = _stages(service)
    stages = {name: _difference(before.get(name, (0.0, 0.0)), total) for name, total in after.items()}
    with loading((load, Recommends(users))):
        stacks = _stacks(service, load.seconds)
    return {
        **percentiles_ms(outcome.times()),
        "per_s": round(outcome.per_s, 1),
        "answers": dict(outcome.marks),
        "failures": outcome.failures,
        "stages": {name: found for name, found in stages.items() if found["count"]},
        **_functions(stacks),
    }


def _stages(service: Running) -> dict[str, tuple[float, float]]:
    """Stage -> seconds and how often, since the start of the service."""
    found: dict[str, dict[str, float]] = {}
    for what, name, value in _STAGE.findall(service.get("/metrics")[1].decode()):
        found.setdefault(name, {})[what] = float(value)
    return {name: (values["sum"], values["count"]) for name, values in found.items()}


def _difference(before: tuple[float, float], after: tuple[float, float]) -> dict[str, float]:
    seconds, count = after[0] - before[0], after[1] - before[1]
    return {"mean_ms": round(seconds * 1e3 / count, 3) if count else 0.0, "count": count}


def _stacks(service: Running, seconds: float) -> list[tuple[list[str], int]]:
    """Stacks of the worker's busy threads, outermost first, and how often each was seen."""
    [worker, *_] = service.workers()
    file = service.log.with_suffix(".stacks")
    wanted = ["--pid", str(worker.pid), "--duration", str(max(int(seconds), 1)), "--rate", str(SAMPLES_PER_S)]
    command = [_py_spy(), "record", *wanted, "--format", "raw", "--output", str(file), "--nonblocking"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"py-spy failed: {done.stderr.strip()[-500:]}")
    lines = [line.rpartition(" ") for line in file.read_text().splitlines()]
    return [(stack.split(";"), int(count)) for stack, _, count in lines]


def _functions(stacks: list[tuple[list[str], int]]) -> dict[str, Any]:
    """Shares of all samples, in per cent: `self` of the function itself, `with_calls` with all that it calls."""
    total = sum(count for _, count in stacks) or 1
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for frames, count in stacks:
        names = [_name(frame) for frame in frames]
        own[names[-1]] += count
        whole.update(dict.fromkeys(names, count))

    def shares(counted: Counter[str]) -> dict[str, float]:
        return {name: round(100 * count / total, 1) for name, count in counted.most_common(TOP)}

    return {"samples": total, "self": shares(own), "with_calls": shares(whole)}


def _name(frame: str) -> str:
    """`function (file)` without the line, the file from its package on."""
    found = _FRAME.match(frame)
    if not found:
        return frame
    return f"{found['function']} ({found['file'].rpartition('site-packages/')[2]})"


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        raise SystemExit("py-spy is not installed: pip install py-spy")
    return program


def _print(profile: dict[str, Any]) -> None:
    for clients, found in profile["clients"].items():
        print(f"\n{clients} clients: p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, {found['per_s']} requests/s")
        for name, stage in found["stages"].items():
            print(f"  {name:16} {stage['mean_ms']:9.3f} ms  x {stage['count']:.0f}")
        for what, title in (("self", "in the function itself"), ("with_calls", "with all that it calls")):
            print(f"  {title}, % of {found['samples']} samples")
            for name, share in found[what].items():
                print(f"    {share:5.1f}  {name}")


if __name__ == "__main__":
    main()
