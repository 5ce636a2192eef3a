"""The online path, in process, on the demo's data: read, rank, update; each beside its floor in the same run.

Run `make demo` first, then `make bench`; writes `reports/bench.json`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import numpy as np

from feature_repo import schema as s
from feature_repo.event import Event
from feature_repo.store import Features
from feature_repo.stream import StreamPath
from flows.measure import machine
from flows.pipeline import LIBRARIES, write_report
from flows.quiet import quiet_exit
from flows.serving import clock_start
from infra.settings import settings
from models import bundle, registry
from models.state import UserState

REPEATS = 200
WARM_UP = 10


def timed_ms(call: Callable[[int], Any], repeats: int = REPEATS) -> dict[str, float]:
    """p50, p95 and p99 of `call(i)` in ms, after a warm-up."""
    for i in range(WARM_UP):
        call(i)
    taken = []
    for i in range(repeats):
        start = time.perf_counter()
        call(i)
        taken.append((time.perf_counter() - start) * 1e3)
    return {f"p{q}_ms": round(float(np.percentile(taken, q)), 3) for q in (50, 95, 99)}


def main() -> None:
    config = settings()
    tag = registry.champion(config.champion).tag
    folder = registry.bundle_path(tag)
    recommender, names = bundle.load(folder), bundle.manifest(folder)["features"]
    features = Features.open(config)
    now = clock_start(config) or datetime.now(UTC)
    recent = features.events(start=now - timedelta(days=7))
    users = recent[s.USER_ID].unique().to_pylist()[:REPEATS]
    items = recent[s.ITEM_ID].unique().to_pylist()[:REPEATS]

    def user(i: int) -> str:
        return str(users[i % len(users)])

    def read(i: int) -> dict[str, Any]:
        return features.online_user(user(i), names, now)

    states = [UserState.from_row(u, features.online_user(str(u), names, now), now.timestamp()) for u in users]
    database = sqlite3.connect(config.feast / "online.db")
    table = f"{config.project}_user_activity_rows"
    keys = [row[0] for row in database.execute(f"SELECT entity_key FROM {table} LIMIT {REPEATS}")]

    def floor(i: int) -> list[Any]:
        query = f"SELECT * FROM {table} WHERE entity_key = ?"
        return database.execute(query, (keys[i % len(keys)],)).fetchall()

    floor_ms, read_ms = timed_ms(floor), timed_ms(read)
    rank_ms = timed_ms(lambda i: recommender.recommend([states[i % len(states)]], 10))
    popular_ms = timed_ms(lambda i: recommender.popular(10))
    stream = StreamPath(features)
    # A user of its own, so that measuring changes nobody's answers.
    event_ms = timed_ms(
        lambda i: stream.apply(
            [Event(user_id="benchmark", item_id=str(items[i % len(items)]), event_type="view")], now
        ),
        repeats=50,
    )
    figures = {
        "online_read": {
            "value": read_ms["p50_ms"],
            "unit": "ms p50",
            "detail": {**read_ms, "floor: one SQLite row": floor_ms},
        },
        "recommend": {
            "value": rank_ms["p50_ms"],
            "unit": "ms p50",
            "detail": {**rank_ms, "floor: popular items, no user": popular_ms},
        },
        "event_to_online_features": {"value": event_ms["p50_ms"], "unit": "ms p50", "detail": event_ms},
    }
    report = {
        "figures": figures,
        "machine": machine(),
        "versions": {library: version(library) for library in LIBRARIES},
        "model": tag,
        "seed": config.seed,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = write_report(report, config, "bench")
    for name, figure in figures.items():
        print(f"{name:26} {figure['value']:8} {figure['unit']}   {figure['detail']}")
    print(f"Report: {path}")


if __name__ == "__main__":
    quiet_exit()
    main()
