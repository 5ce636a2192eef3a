"""The packed item read beside Feast's own, in the same run: 500 random items × the 20 features of the item service.

    python -m benchmarks.packed

The values are compared one by one: numbers as float64, bit by bit, and texts; Feast's null and NaN are one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.scratch import scratch_features
from feature_repo.features import discover
from feature_repo.groups import ITEM_SERVICE
from feature_repo.materialization import write_online
from feature_repo.packed import PackedItems
from feature_repo.packed_files import PackedFiles
from feature_repo.packed_source import newest_rows
from feature_repo.refresh import replacing
from feature_repo.schema import ITEM_ID
from feature_repo.store import Features
from flows.quiet import quiet_exit
from infra.settings import settings

ITEMS = 500
REPEATS, FEAST_REPEATS = 500, 15
TIMES_FASTER = 100
REDIS_URL = "redis://localhost:6379/9"
"""A database of its own; the benchmark's project is taken out again."""


def packed_read() -> dict[str, Any]:
    """The figure `packed_read`: how many times faster, and whether the values are equal."""
    with scratch_features(settings()) as features:
        table = _packed(features)
        items = np.random.default_rng(features.settings.seed).choice(table.ids, ITEMS, replace=False).tolist()
        packed_ms = _median_ms(lambda: table.read(items), REPEATS)
        feast_ms, equal = _beside_feast(features, table, items)
        load_ms = _median_ms(lambda: PackedFiles(features.settings.packed).newest(), 5)
        redis = _on_redis(features, table, items)
    ratio = feast_ms / packed_ms
    return {
        "value": round(ratio, 1),
        "unit": "times",
        "target": TIMES_FASTER,
        "met": ratio >= TIMES_FASTER and equal,
        "detail": {
            "feast_ms": round(feast_ms, 3),
            "packed_ms": round(packed_ms, 4),
            "equal": equal,
            "compared as": "float64 and text",
            "items": ITEMS,
            "features": len(table.number_names) + len(table.text_names),
            "items in the table": len(table.ids),
            "load of a version_ms": round(load_ms, 1),
            "redis": redis if redis is None else {**redis, "times": round(redis["feast_ms"] / packed_ms, 1)},
        },
    }


def _packed(features: Features) -> PackedItems:
    until = features.lake.newest_event()
    features.compute([until])
    features.apply()
    with replacing(features, until):
        features.materialize(until)
    table = PackedFiles(features.settings.packed).newest()
    assert table is not None
    return table


def _beside_feast(features: Features, table: PackedItems, items: Sequence[str]) -> tuple[float, bool]:
    """Milliseconds of Feast's online read, and whether it gives what is packed."""
    service = features.service(ITEM_SERVICE)
    entities = [{ITEM_ID: item} for item in items]

    def read() -> dict[str, list[Any]]:
        return features.feast.get_online_features(service, entities).to_dict()

    taken = _median_ms(read, FEAST_REPEATS)
    return taken, _equal(table, items, read())


def _equal(table: PackedItems, items: Sequence[str], feast: dict[str, list[Any]]) -> bool:
    numbers, texts = table.read(items)
    same = [
        np.array_equal(numbers[:, column], np.array(feast[name], np.float64), equal_nan=True)
        for column, name in enumerate(table.number_names)
    ]
    same += [texts[:, column].tolist() == feast[name] for column, name in enumerate(table.text_names)]
    return all(same) and len(same) == len(feast) - 1


def _on_redis(features: Features, table: PackedItems, items: Sequence[str]) -> dict[str, Any] | None:
    """The same through Redis, which gets these items alone: a read looks up keys and does not search. None: no Redis
    here."""
    url = os.environ.get("KAIROS_REDIS_URL", REDIS_URL)
    try:
        Redis.from_url(url, socket_connect_timeout=1).ping()
    except RedisError:
        return None
    config = features.settings.model_copy(
        update={
            "home": features.settings.home / "benchmark_redis",
            "project": "kairos_benchmark",
            "online_store": "redis",
            "redis_url": url,
            # Feast's pipeline of 500 items is one answer.
            "redis_timeout_s": 10.0,
        }
    )
    on_redis = Features.open(config)
    try:
        on_redis.apply()
        for view, rows in _rows(features, table, items).items():
            write_online(on_redis.feast, discover()[view], rows)
        feast_ms, equal = _beside_feast(on_redis, table, items)
        return {"feast_ms": round(feast_ms, 3), "equal": equal}
    finally:
        on_redis.feast.teardown()


def _rows(features: Features, table: PackedItems, items: Sequence[str]) -> dict[str, Any]:
    """The items' rows of every view, as the offline store has them."""
    wanted = pa.array(items)
    rows = {view.name: newest_rows(features, view, table.moment) for view in table.views}
    return {name: found.filter(pc.is_in(found[ITEM_ID], wanted)) for name, found in rows.items()}


def _median_ms(call: Callable[[], Any], repeats: int) -> float:
    call()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1e3)
    return float(np.median(taken))


if __name__ == "__main__":
    quiet_exit()
    print(json.dumps(packed_read(), indent=1))
