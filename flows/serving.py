"""Starting the service, and asking the champion without it."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from feature_repo.lake import Lake
from feature_repo.store import Features
from flows.bundles import answering
from flows.errors import ServeError
from infra.settings import PROJECT_ROOT, Settings, environment
from models import bundle, registry
from models.chances import Chances, chances
from models.recommender import Recommendation, Recommender
from models.state import DAY_S, UserState

SERVICE = "services.service:Kairos"
LIVE = timedelta(days=2)
"""Data whose newest event is older are history, and their service's clock starts at their end."""
READY_WITHIN_S = 120


@dataclass(frozen=True)
class Answer:
    """Recommendations for one user, beside what the user did last (newest first), all by name."""

    user: str
    known: bool
    items: list[Recommendation]
    lately: list[tuple[str, str]]
    """(event type, item)"""
    names: Mapping[str, str]
    chances: Chances
    """What can be said of the items, where it was asked for."""
    about_chances: str
    """The time that they are about, or why there are none; empty where nobody asked."""


def clock_start(config: Settings) -> datetime | None:
    """When the service's clock starts: as set, or at the newest event of data that are history; None: it is live."""
    if config.clock_start:
        return config.clock_start
    newest = Lake(config.lake).newest_event()
    return newest if datetime.now(UTC) - newest > LIVE else None


def recommend(config: Settings, user: str, k: int, *, novel_only: bool = False, probabilities: bool = False) -> Answer:
    """What the champion recommends to a user by the online features as they are now.

    Args:
        probabilities: say of each item how likely it is taken, too.

    Raises:
        NoChampionError: there is no champion.
    """
    folder = registry.bundle_path(answering(registry.champion(config.champion)))
    recommender = bundle.load(folder)
    now = clock_start(config) or datetime.now(UTC)
    row = Features.open(config).online_user(user, bundle.manifest(folder)["features"], now)
    state = UserState.from_row(user, row, now.timestamp())
    [items] = recommender.recommend([state], k, novel_only=novel_only)
    lately = list(zip(row["session_types"] or [], row["session_items"] or [], strict=True))[::-1]
    told: Chances = {}
    about = ""
    if probabilities:
        [told] = chances(recommender, [state], [[item.item_id for item in items]])
        about = _about(recommender, told)
    return Answer(user, not state.is_unknown, items, lately, recommender.item_names, told, about)


def _about(recommender: Recommender, told: Chances) -> str:
    if recommender.probabilities is None:
        return "No probabilities: this model has none; train again with more users."
    if not told:
        return "No probabilities: nothing is known of this user."
    return f"p: the probability within {recommender.probabilities.horizon_s / DAY_S:.0f} days."


def start_service(config: Settings) -> tuple[subprocess.Popen[bytes], str]:
    """Start the service and wait until it is ready.

    Returns:
        The process, and the service's address.

    Raises:
        ServeError: the port is taken, or the service ended or was not ready in time; its log is on stderr.
    """
    if not _is_free(config.host, config.port):
        raise ServeError(f"{config.host}:{config.port} is taken: stop what listens there, or set KAIROS_PORT")
    command = [sys.executable, "-m", *serve_command(config)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment(config) | service_clock(config))
    url = f"http://{config.host}:{config.port}"
    try:
        wait_until_ready(process, url)
    except (ServeError, KeyboardInterrupt):
        process.terminate()
        raise
    return process, url


def serve_command(config: Settings) -> list[str]:
    """The module that serves, and its arguments."""
    return ["bentoml", "serve", SERVICE, "--host", config.host, "--port", str(config.port)]


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the service of a process is ready.

    Raises:
        ServeError: the process ended, or it is still not ready; the process is left as it is.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServeError(f"the service ended with code {process.returncode}; its log says why")
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).is_success:
                return
        time.sleep(0.2)
    raise ServeError(f"the service was not ready within {READY_WITHIN_S} s")


def service_clock(config: Settings) -> dict[str, str]:
    """Variables that set a service's clock, where the data are history."""
    start = clock_start(config)
    began = os.environ.get("KAIROS_CLOCK_BEGAN") or datetime.now(UTC).isoformat()
    return {"KAIROS_CLOCK_START": start.isoformat(), "KAIROS_CLOCK_BEGAN": began} if start else {}


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def curl_lines(url: str, user: str, items: Sequence[str], *, with_key: bool = False) -> list[str]:
    """Commands to try the service with: ask, tell, ask again; `with_key` where it asks for one."""
    headers = "-H 'Content-Type: application/json'" + (' -H "Authorization: Bearer $KAIROS_KEY"' if with_key else "")
    ask = f"curl -s {url}/v1/recommend {headers} -d " + shlex.quote(f'{{"user_id": "{user}", "k": 5}}')
    if not items:
        return [ask]
    event = f'{{"user_id": "{user}", "item_id": "{items[0]}", "event_type": "cart"}}'
    return [ask, f"curl -s {url}/v1/events {headers} -d {shlex.quote(event)}"]
