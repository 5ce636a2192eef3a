"""The snapshots that Feast reads: every feature as of given moments, each in a file of its own.

One moment at a time, so memory does not grow with the number of moments, and a killed backfill goes on
where it stopped: a moment's file is there whole or not at all. Beside it stands a manifest that tells what it was
computed from, so changed code or late events bring a new file, and nothing else does.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from feature_repo import inputs
from feature_repo.engines.base import Engine
from feature_repo.feature import Feature, Input
from feature_repo.lake import Lake
from feature_repo.manifest import Manifest

TABLES: tuple[Input, ...] = ("items", "users")
"""Inputs that carry their own time; their features have one file, not one per moment."""


def compute(
    engine: Engine,
    lake: Lake,
    features: Iterable[Feature],
    moments: Sequence[datetime],
    into: Path,
    *,
    run: str = "",
    progress: Callable[[str, datetime | None], None] = lambda feature, moment: None,
) -> dict[str, int]:
    """Write the snapshots of `features` at `moments` under `into/<feature>/`; skip those that are up to date.

    Args:
        run: id of the run, for lineage.
        progress: called after every snapshot that was written.

    Returns:
        Rows written per feature.

    Raises:
        EmptyLakeError: the lake holds no events.
    """
    lake.prepare()
    features = list(features)
    written = dict.fromkeys((feature.name for feature in features), 0)

    def write(wanted: Sequence[Feature], moment: datetime | None, data: str) -> None:
        missing = _missing(wanted, moment, data, into)
        if not missing:
            return
        batches = lake.batches_until(moment) if moment else []
        with engine.cut(moment, {f.reads for f in missing}) as cut:
            for feature, digest in missing.items():
                path = snapshot(into, feature.name, moment)
                path.parent.mkdir(parents=True, exist_ok=True)
                # To a neighbour and renamed: a reader or a kill never meets half a file. The manifest comes last.
                partial = path.with_suffix(".partial")
                rows = cut.write(feature.expression(cut.tables[feature.reads]), partial)
                os.replace(partial, path)
                Manifest(feature.name, moment, digest, rows, engine.name, run, datetime.now(UTC), batches).save(path)
                written[feature.name] += rows
                progress(feature.name, moment)

    tables = lake.fingerprint()
    write([f for f in features if f.reads in TABLES], None, tables)
    of_moments = [f for f in features if f.reads not in TABLES]
    for moment, events in zip(moments, lake.events_until(moments), strict=True):
        wanted = [f for f in of_moments if f.trained_on or moment == max(moments)]
        write(wanted, moment, f"{tables} {events}")
    return written


def snapshot(into: Path, feature: str, moment: datetime | None) -> Path:
    """File of a feature's rows as of a moment; None: of a table that carries its own time."""
    name = f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}" if moment else "all"
    return into / feature / f"{name}.parquet"


def _missing(features: Iterable[Feature], moment: datetime | None, data: str, into: Path) -> dict[Feature, str]:
    """Which snapshots are not there as the code and the data now stand, and the digest that they get."""
    digests = {feature: _digest(feature, data) for feature in features}

    def is_current(feature: Feature, digest: str) -> bool:
        path = snapshot(into, feature.name, moment)
        manifest = Manifest.of(path)
        return path.exists() and manifest is not None and manifest.digest == digest

    return {feature: digest for feature, digest in digests.items() if not is_current(feature, digest)}


def _digest(feature: Feature, data: str) -> str:
    """Changes with the feature's file, with the making of its input, and with the data."""
    code = inspect.getsource(inspect.getmodule(feature.compute) or inputs) + inspect.getsource(inputs)
    return hashlib.sha256(f"{code}\n{data}".encode()).hexdigest()[:12]
