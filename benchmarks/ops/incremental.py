"""A year month by month: the model is never trained again, goes on, or is trained anew; quality and cost of each.

Each month's events are ingested, and the three models answer for the month after their cut, which none has seen. The
months come through the training step as a schedule would run it; the feature snapshots of a full training are computed
before the clock starts. Beside them the champion as a month begins: as it was judged, without the newest month, and
caught up with it, as it answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.ops.own_home import empty_home
from feature_repo import schema as s
from feature_repo.store import Features
from flows.bundles import publish_bundle
from flows.catching_up import catch_up_champion
from flows.connectors.base import Chunk
from flows.connectors.complete_journey import CompleteJourney
from flows.evaluate import held_out, judged_users
from flows.features import data_timeline
from flows.frames import catch_up
from flows.ingest import ingest
from flows.train import train_bundle
from infra.settings import Settings
from models import bundle, registry
from models.gate import GateConfig, Holdout, Shown, View, compare

MONTHS: Final = tuple(datetime(2017, month, 1, tzinfo=UTC) for month in range(7, 13))
"""Cuts, about; before them a first training a month earlier"""
WANTED_QUALITY: Final = 0.98
WANTED_COST: Final = 0.1
NEVER, ON, ANEW = "never", "going on", "anew"
JUDGED, CAUGHT_UP = "as judged", "caught up"


class Until(CompleteJourney):
    """The shop's purchases in start <= time < end."""

    def __init__(self, start: datetime, end: datetime, households: int | None = None) -> None:
        super().__init__(households)
        self.source += f", {start:%Y-%m-%d} to {end:%Y-%m-%d}"
        self.start, self.end = start, end

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        before = 0
        for chunk in super().chunks(chunk_rows):
            rows = _between(chunk.rows, self.start, self.end)
            if rows.num_rows:
                yield Chunk(rows, first_row=before + 1, done=chunk.done)
                before += rows.num_rows


def measure(households: int | None = None) -> dict[str, Any]:
    """The figure: NDCG@10 of going on as a share of training anew, over six months, with the costs.

    Args:
        households: this many, not all.
    """
    with empty_home(KAIROS_FULL_TRAINING_DAYS="100000") as config:
        _ingest(config, datetime(2017, 1, 1, tzinfo=UTC), MONTHS[0], households)
        first, cost = _trained(config, anew=True)
        registry.crown(config.champion, publish_bundle(first))
        print(f"  first training: {cost['cpu_s']:.0f} s of processor time", flush=True)
        found = []
        for at, month in enumerate(MONTHS):
            end = MONTHS[at + 1] if at + 1 < len(MONTHS) else datetime(2018, 1, 1, tzinfo=UTC)
            cpu = time.process_time()
            answers = catch_up_champion(config)
            cpu = time.process_time() - cpu
            _ingest(config, month, end, households)
            found.append(
                {**_month(config, first), "answers": _answers(config, answers, month), "catching up cpu_s": cpu}
            )
            print(f"  {found[-1]['answers']}, caught up in {cpu:.0f} s of processor time", flush=True)
    return _figure(found, cost, households)


def _ingest(config: Settings, start: datetime, end: datetime, households: int | None) -> None:
    ingest(Until(start, end, households), config, now=datetime.now(UTC), progress=False)


def _month(config: Settings, first: Path) -> dict[str, Any]:
    features, cuts = Features.open(config), data_timeline(config)
    catch_up(features, cuts.moments)
    folders, costs = {NEVER: first}, {NEVER: {"cpu_s": 0.0, "wall_s": 0.0}}
    folders[ON], costs[ON] = _trained(config, anew=False)
    origin = bundle.manifest(folders[ON])["origin"]
    if origin["goes_on_from"] is None:
        raise RuntimeError(f"began anew: {origin['because']}")
    registry.crown(config.champion, publish_bundle(folders[ON]))
    folders[ANEW], costs[ANEW] = _trained(config, anew=True)
    models = {name: bundle.load(folder) for name, folder in folders.items()}
    held = held_out(config)
    target = models[ANEW].target
    holdout = Holdout(*judged_users(held, target, models[ANEW].item_names))
    shown = {name: Shown.by(model, holdout, GateConfig().k) for name, model in models.items()}
    fresh = set(_between(held.events, cuts.training_cuts[-1], cuts.cut)[s.ITEM_ID].unique().to_pylist())
    old = Holdout(holdout.states, {user: set(items) - fresh for user, items in holdout.truth.items()}, {})
    month: dict[str, Any] = {"cut": cuts.cut.isoformat(), "users": len(holdout.states), "cost": costs}
    views: dict[str, tuple[Holdout, View]] = {
        "all": (holdout, "all"), "novel": (holdout, "novel"), "not taken by anybody lately": (old, "all"),
    }  # fmt: skip
    for view, (asked, which) in views.items():
        values = {name: each.ndcg(asked, which, GateConfig().k) for name, each in shown.items()}
        month[view] = {
            "ndcg": {name: float(np.nanmean(each)) for name, each in values.items()},
            "going on beside anew": compare(values[ON], values[ANEW]).figures(),
            "never beside anew": compare(values[NEVER], values[ANEW]).figures(),
        }
    quality, cpu = month["all"]["ndcg"], {name: round(each["cpu_s"]) for name, each in costs.items()}
    print(f"  {cuts.cut:%Y-%m-%d}: NDCG { ({n: round(v, 4) for n, v in quality.items()}) }, cpu s {cpu}", flush=True)
    return month


def _answers(config: Settings, answers: registry.Champion, month: datetime) -> dict[str, Any]:
    """NDCG of the champion in a month that neither of its states has seen."""
    held = held_out(config)
    models = {JUDGED: answers.tag, CAUGHT_UP: answers.serves}
    loaded = {name: bundle.load(registry.bundle_path(tag)) for name, tag in models.items()}
    catalogue = set(held.events[s.ITEM_ID].unique().to_pylist())
    since = replace(held, cuts=replace(held.cuts, cut=month))
    holdout = Holdout(*judged_users(since, loaded[JUDGED].target, catalogue))
    shown = {name: Shown.by(model, holdout, GateConfig().k) for name, model in loaded.items()}
    views: tuple[View, ...] = ("all", "novel")
    return {
        view: {name: float(np.nanmean(each.ndcg(holdout, view, GateConfig().k))) for name, each in shown.items()}
        for view in views
    }


def _between(events: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """The rows with start <= time < end."""
    stamps = events[s.TIMESTAMP]
    low, high = (pa.scalar(moment, stamps.type) for moment in (start, end))
    return events.filter(pc.and_(pc.greater_equal(stamps, low), pc.less(stamps, high)))


def _trained(config: Settings, *, anew: bool) -> tuple[Path, dict[str, float]]:
    """A bundle's folder, and what it cost."""
    time.sleep(1.0)  # bundles are named by the second
    wall, cpu = time.perf_counter(), time.process_time()
    folder = train_bundle(config, anew=anew)
    cost = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return folder, {**cost, **bundle.manifest(folder)["metrics"]["seconds"]}


def _figure(found: list[dict[str, Any]], first: dict[str, float], households: int | None) -> dict[str, Any]:
    def mean(view: str, name: str) -> float:
        return float(np.mean([month[view]["ndcg"][name] for month in found]))

    def spent(name: str) -> float:
        return float(sum(month["cost"][name]["cpu_s"] for month in found))

    quality, cost = mean("all", ON) / mean("all", ANEW), spent(ON) / spent(ANEW)
    shares = {
        view: {name: mean(view, name) / mean(view, ANEW) for name in (NEVER, ON)}
        for view in ("all", "novel", "not taken by anybody lately")
    }
    return {
        "value": round(quality, 4),
        "unit": f"of a full training's NDCG@10 at {cost:.1%} of its processor time, {len(found)} months",
        "target": f">= {WANTED_QUALITY} at <= {WANTED_COST:.0%}",
        "met": quality >= WANTED_QUALITY and cost <= WANTED_COST,
        "detail": {
            "cost": cost,
            "shares_of_anew": shares,
            "caught up beside as judged": {
                view: float(
                    np.mean([month["answers"][view][CAUGHT_UP] for month in found])
                    / np.mean([month["answers"][view][JUDGED] for month in found])
                )
                for view in ("all", "novel")
            },
            "months": found,
            "first_training": first,
            "households": households,
        },
    }
