"""A challenger's service on trial: started beside the one that works, asked over HTTP, and ended.

It reads the same online features and items. Whatever it writes, logs and counters, is in a folder of its own that goes
with it, and it is never the one that refreshes the items.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from feature_repo.file_lock import file_lock
from feature_repo.refresh import TURN
from flows.errors import ServeError
from flows.model_store import model_store
from flows.serving import clock_start, serve_command, wait_until_ready
from infra.keys import Keys, Right
from infra.ports import free_port
from infra.settings import PROJECT_ROOT, Settings, environment
from models import registry
from models.gate import Finding, GateConfig
from models.rungs import RANKED

WARM_UP: Final = 5
"""Requests before those that count"""
ROUNDS: Final = 3
PAUSE_S: Final = 10.0
"""Between rounds: a machine or a store that is busy for a moment refuses nobody, and a service leaves a store that was
too slow alone for a second."""
LATE_S: Final = 10.0
"""A request that takes longer has failed."""
LOG: Final = "service.log"


def try_over_http(config: Settings, tag: str, users: Sequence[str], limits: GateConfig) -> Finding:
    """Whether the service, with this model, answers these users in time and by the model.

    Raises:
        ServeError: it does not start; with the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="kairos-trial-", ignore_cleanup_errors=True) as folder:
        trial, key = _own_home(config, tag, Path(folder))
        with _running(trial) as url, _client(url, key) as http:
            for user in users[:WARM_UP]:
                _ask(http, user, limits.k)
            for number in range(ROUNDS):
                time.sleep(PAUSE_S if number else 0)
                finding = _round(http, users, limits)
                if finding.passed:
                    break
    return finding


def _client(url: str, key: str) -> httpx.Client:
    # No proxy of the environment stands between us and ourselves.
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=LATE_S, trust_env=False)


def _round(http: httpx.Client, users: Sequence[str], limits: GateConfig) -> Finding:
    """One request after the other."""
    seconds, answers = [], Counter[str]()
    for user in users:
        began = time.perf_counter()
        answers[_ask(http, user, limits.k)] += 1
        seconds.append(time.perf_counter() - began)
    slow, ranked = float(np.quantile(seconds, 0.95)), sum(answers[rung] for rung in RANKED)
    said = (
        f"an answer of the service takes {slow * 1e3:.1f} ms (19 of 20; at most {limits.http_s * 1e3:.0f}), answered: "
        f"{', '.join(f'{count} {how}' for how, count in answers.most_common())} (19 of 20 by the model)"
    )
    passed = slow <= limits.http_s and ranked >= 0.95 * len(users)
    figures = {"p95_s": slow, "median_s": float(np.median(seconds)), "ranked": ranked / len(users)}
    return Finding("answers over HTTP", passed, said, figures)


def _ask(http: httpx.Client, user: str, k: int) -> str:
    """The rung of the ladder that answered, or how the request failed."""
    try:
        answer = http.post("/v1/recommend", json={"user_id": user, "k": k})
    except httpx.HTTPError as error:
        return type(error).__name__
    return str(answer.json()["served_by"]) if answer.is_success else f"HTTP {answer.status_code}"


@contextmanager
def _running(trial: Settings) -> Iterator[str]:
    """The address of the service of a home, as long as it is asked."""
    log, url = trial.home / LOG, f"http://{trial.host}:{trial.port}"
    own = {"BENTOML_HOME": str(trial.bentoml_home), "TMPDIR": str(trial.home)}
    # In a session of its own no Ctrl-C reaches it. It ends with its input, so with us, however that happens.
    command = [sys.executable, "-m", "flows.ends_with_input", *serve_command(trial)]
    with file_lock(trial.home / TURN, "the trial's refresh"), log.open("wb") as written:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment(trial) | own, start_new_session=True,
            stdin=subprocess.PIPE, stdout=written, stderr=written,
        )  # fmt: skip
        try:
            wait_until_ready(process, url)
            yield url
        except ServeError as error:
            said = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise ServeError(f"{error}: {' / '.join(said)}") from error
        finally:
            process.communicate()


def _own_home(config: Settings, tag: str, home: Path) -> tuple[Settings, str]:
    """Settings of a home that has the features and models of another one, and logs of its own; its only key."""
    trial = config.model_copy(
        update={
            "home": home, "host": "127.0.0.1", "port": free_port(), "workers": 1, "clock_start": clock_start(config),
            "event_stream": "sqlite", "event_spool": None, "request_log_share": 0.0, "rate_limit": None,
        }
    )  # fmt: skip
    # Not Feast's folder itself: what is written there names the home. An absolute registry is read where it is.
    for name in ("online.db", config.registry or "registry.db"):
        if not Path(name).is_absolute() and (theirs := config.feast.absolute() / name).is_file():
            (ours := trial.feast / name).parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)
    trial.bentoml_home.mkdir()
    trial.packed.symlink_to(config.packed.absolute(), target_is_directory=True)
    (trial.bentoml_home / "models").symlink_to(model_store(config).parent.absolute(), target_is_directory=True)
    registry.crown(trial.champion, tag)
    keys, key = Keys().add("gate", [Right.RECOMMEND], None, datetime.now(UTC))
    keys.save(trial.keys_file)
    return trial, key
