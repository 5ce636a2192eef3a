"""A challenger's service on trial: started beside the one that works, asked over HTTP, and ended.

It reads the same online features and items. Whatever it writes, logs and counters, is in a folder of its own that goes
with it, and it is never the one that refreshes the items.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from feature_repo.file_lock import file_lock
from flows.errors import ServeError
from flows.model_store import model_store
from flows.serving import SERVICE, clock_start, wait_until_ready
from infra.settings import PROJECT_ROOT, Settings, environment
from models import registry
from models.gate import Finding, GateConfig
from models.rungs import RANKED

WARM_UP: Final = 5
"""Requests before those that count"""
ROUNDS: Final = 3
"""A machine that is busy for a moment refuses nobody."""
LOG: Final = "service.log"


def try_over_http(config: Settings, tag: str, users: Sequence[str], limits: GateConfig) -> Finding:
    """Whether the service, with this model, answers these users in time and by the model.

    Raises:
        ServeError: it does not start; with the end of its log.
        httpx.HTTPError: it does not answer.
    """
    with _on_trial(config, tag) as url, httpx.Client(base_url=url, timeout=10) as http:
        for user in users[:WARM_UP]:
            _ask(http, user, limits.k)
        for _ in range(ROUNDS):
            finding = _round(http, tag, users, limits)
            if finding.passed:
                break
    return finding


def _round(http: httpx.Client, tag: str, users: Sequence[str], limits: GateConfig) -> Finding:
    """One request after the other."""
    seconds, others = [], 0
    for user in users:
        began = time.perf_counter()
        answer = _ask(http, user, limits.k)
        seconds.append(time.perf_counter() - began)
        others += answer["served_by"] not in RANKED or answer["model_version"] != tag.partition(":")[2]
    slow = float(np.quantile(seconds, 0.95))
    said = (
        f"an answer of the service takes {slow * 1e3:.1f} ms (19 of 20; at most {limits.http_s * 1e3:.0f}), "
        f"{others} of {len(users)} came from a lower rung (at most 1 of 20)"
    )
    passed = slow <= limits.http_s and others <= len(users) / 20
    figures = {"p95_s": slow, "median_s": float(np.median(seconds)), "lower_rungs": float(others)}
    return Finding("answers over HTTP", passed, said, figures)


def _ask(http: httpx.Client, user: str, k: int) -> dict[str, Any]:
    answer = http.post("/v1/recommend", json={"user_id": user, "k": k}).raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


@contextmanager
def _on_trial(config: Settings, tag: str) -> Iterator[str]:
    """The address of a service with this model in it, as long as it is asked."""
    with tempfile.TemporaryDirectory(prefix="kairos-trial-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        trial = _own_home(config, tag, home)
        values = environment(trial) | {"BENTOML_HOME": str(trial.bentoml_home)}
        # It ends with its input: with us, too, however that happens.
        command = [sys.executable, "-m", "flows.ends_with_input", "bentoml", "serve", SERVICE]
        address = ["--host", trial.host, "--port", str(trial.port)]
        with file_lock(home / "refresher.lock", "the trial's refresh"), (home / LOG).open("wb") as log:
            process = subprocess.Popen(
                [*command, *address], cwd=PROJECT_ROOT, env=values, stdin=subprocess.PIPE, stdout=log, stderr=log
            )  # fmt: skip
            try:
                url = f"http://{trial.host}:{trial.port}"
                try:
                    wait_until_ready(process, url)
                except ServeError as error:
                    raise ServeError(f"{error}: {(home / LOG).read_text()[-2000:].strip()}") from error
                yield url
            finally:
                process.communicate()


def _own_home(config: Settings, tag: str, home: Path) -> Settings:
    """Settings of a home that has the features and models of another one, and logs of its own."""
    trial = config.model_copy(
        update={
            "home": home, "host": "127.0.0.1", "port": _free_port(), "workers": 1, "clock_start": clock_start(config),
            "event_stream": "sqlite", "event_spool": None, "request_log_share": 0.0,
            "require_keys": False, "rate_limit": "1000000/second",
        }
    )  # fmt: skip
    trial.feast.mkdir()
    trial.bentoml_home.mkdir()
    # Not Feast's folder itself: what is written there names the home.
    for file in config.feast.glob("*.db"):
        (trial.feast / file.name).symlink_to(file.absolute())
    for theirs, ours in (
        (config.lake, trial.lake),
        (config.packed, trial.packed),
        (model_store(config).parent, trial.bentoml_home / "models"),
    ):
        ours.symlink_to(theirs.absolute(), target_is_directory=True)
    registry.crown(trial.champion, tag)
    return trial


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
