"""All users' best items, beside `implicit`'s own: the same vectors, the same threads, in turns."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from implicit.cpu.topk import topk as implicit_topk
from scipy import sparse

from models.batch_top_k import best_of_all

USERS, ITEMS, DIM, K = 100_000, 100_000, 64, 20
ROUNDS: Final = 3
SEEN: Final = 50
"""Items that each user had already and that may not come."""
SEED: Final = 7


def measure() -> dict[str, Any]:
    """The figure: implicit's time divided by ours."""
    random = np.random.default_rng(SEED)
    users, items = (random.standard_normal((count, DIM), np.float32) for count in (USERS, ITEMS))
    columns = random.integers(0, ITEMS, (USERS, SEEN))
    barred = sparse.csr_matrix(
        (np.ones(columns.size, np.float32), columns.ravel(), np.arange(0, columns.size + 1, SEEN)), (USERS, ITEMS)
    )
    seconds: dict[str, list[float]] = {"kairos": [], "implicit": []}
    found: dict[str, Any] = {}
    for _ in range(ROUNDS):
        for name, run in (("kairos", _ours), ("implicit", _implicit)):
            started = time.perf_counter()
            found[name] = run(users, items, barred)
            seconds[name].append(time.perf_counter() - started)
    same = float(np.mean(np.sort(found["kairos"], axis=1) == np.sort(found["implicit"], axis=1)))
    times = [theirs / ours for ours, theirs in zip(seconds["kairos"], seconds["implicit"], strict=True)]
    value = round(float(np.median(times)), 2)
    return {
        "value": value,
        "unit": "times implicit's speed",
        "target": 1.0,
        "met": value >= 1.0 and same > 0.999,
        "detail": {
            "seconds": {name: [round(each, 2) for each in some] for name, some in seconds.items()},
            "same_items": same,
            "users": USERS, "items": ITEMS, "dim": DIM, "k": K,
        },
    }  # fmt: skip


def _ours(users: np.ndarray, items: np.ndarray, barred: sparse.csr_matrix) -> np.ndarray:
    return np.concatenate([places for _, places, _ in best_of_all(users, items, K, barred)])


def _implicit(users: np.ndarray, items: np.ndarray, barred: sparse.csr_matrix) -> np.ndarray:
    found: np.ndarray = implicit_topk(items, users, K, filter_query_items=barred)[0]
    return found
