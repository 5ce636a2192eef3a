"""Matrix factorisation that goes on from earlier factors ends where a fit from nothing does, over a grown catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.batch import encode
from models.ids import IdMap
from models.interactions import frame_of, interactions_of
from models.sources.als import Als, AlsConfig
from tests.models.sources.conftest import vocabulary_of

CONFIG = AlsConfig(factors=8, iterations=15, threads=1)


def test_going_on_ends_where_a_fit_from_nothing_does(worlds: Callable, tmp_path: Path) -> None:
    world = worlds(users=80, items=40, per_user=15, groups=4)
    all_items = vocabulary_of(world.events)
    old = replace(all_items, items=IdMap(all_items.items.names[:30]))
    frame = frame_of(world.events, world.end)
    first = interactions_of(frame, old)
    source = Als(CONFIG).fit(first.where(first.item > 0), world.end)
    source.save(tmp_path)

    events = interactions_of(frame, all_items)
    batch = encode(world.states(world.end), all_items)
    anew = Als(CONFIG).fit(events, world.end).scores(batch)
    loaded = Als.load(tmp_path)
    loaded.go_on()
    on = loaded.fit(events, world.end).scores(batch)
    three = Als(replace(CONFIG, iterations=CONFIG.update_iterations)).fit(events, world.end).scores(batch)

    def distance(scores: np.ndarray) -> float:
        return float(np.abs(scores[:, 1:] - anew[:, 1:]).mean())

    assert np.isfinite(on[:, 31:]).all()
    assert distance(on) < distance(three)
    assert np.corrcoef(on[:, 31:].ravel(), anew[:, 31:].ravel())[0, 1] > 0.9


def test_before_a_fit_there_is_nothing_to_go_on_from(worlds: Callable) -> None:
    world = worlds(users=20, items=20, per_user=10, groups=2)
    vocabulary = vocabulary_of(world.events)
    events = interactions_of(frame_of(world.events, world.end), vocabulary)
    batch = encode(world.states(world.end), vocabulary)
    fresh = Als(CONFIG)
    fresh.go_on()
    assert np.array_equal(fresh.fit(events, world.end).scores(batch), Als(CONFIG).fit(events, world.end).scores(batch))
