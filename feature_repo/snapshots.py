"""The snapshots that Feast reads: every feature as of given moments, each in a file of its own.

One moment at a time, so memory does not grow with the number of moments, and a killed backfill goes on
where it stopped: a moment's file is there whole or not at all. Beside it stands a manifest that tells what it was
computed from, so changed code or late events bring a new file, and nothing else does.

What a feature has snapshots of: the moments that the run asks for, and those that a backfill ever asked for. Other
ones stay as long as they are of the same code; of old code they go, as one frame must not mix two definitions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feature_repo.disk import full_disk_named
from feature_repo.engines.base import Cut, Engine
from feature_repo.feature import Feature, Input
from feature_repo.feature_code import code_digest
from feature_repo.file_lock import file_lock
from feature_repo.lake import Lake
from feature_repo.manifest import Manifest

TABLES: tuple[Input, ...] = ("items", "users")
"""Inputs that carry their own time; their features have one file, not one per moment."""
KEPT = timedelta(days=30)
"""How long a snapshot stays that neither the timeline nor a backfill asks for."""
PATIENT_S = 6 * 3600.0
"""How long a writer waits for another: features of a large lake take hours, and who needs them is better late."""

Progress = Callable[[int, int, str, datetime | None], None]
"""Told after every snapshot: how many are written, of how many, and which one it was."""


@dataclass(frozen=True)
class Missing:
    """A snapshot that is not there as the code and the data now stand."""

    feature: Feature
    moment: datetime | None
    digest: str
    backfilled: bool


def compute(
    engine: Engine,
    lake: Lake,
    features: Iterable[Feature],
    moments: Sequence[datetime],
    into: Path,
    *,
    run: str = "",
    backfill: bool = False,
    progress: Progress = lambda done, total, feature, moment: None,
) -> dict[str, int]:
    """Write the snapshots of `features` at `moments` under `into/<feature>/`; skip those that are up to date.

    Args:
        run: id of the run, for lineage.
        backfill: keep the moments from now on, and keep them up to date.

    Returns:
        Rows written per feature.

    Raises:
        EmptyLakeError: the lake holds no events.
        FeaturesBusyError: another process is at it.
        DiskFullError: there is no room for a snapshot; those before it are whole.
    """
    features = list(features)
    written = dict.fromkeys((feature.name for feature in features), 0)
    if not backfill and not missing(lake, features, moments, into):
        return written  # nobody who writes others needs to be waited for
    with one_writer(into):
        _clean(into)
        todo = missing(lake, features, moments, into, backfill=backfill)
        by_moment: dict[datetime | None, list[Missing]] = defaultdict(list)
        for one in todo:
            by_moment[one.moment].append(one)
        done = 0
        for moment, of_moment in by_moment.items():
            batches = lake.batches_until(moment) if moment else []
            with engine.cut(moment, [one.feature.reads for one in of_moment]) as cut:
                for one in of_moment:
                    rows = _write(cut, one, into, engine.name, run, batches)
                    written[one.feature.name] += rows
                    done += 1
                    progress(done, len(todo), one.feature.name, moment)
        for feature in features:
            if backfill:
                _mark(feature, moments, into)
            _drop_old_code(feature, into)
    return written


def missing(
    lake: Lake, features: Iterable[Feature], moments: Sequence[datetime], into: Path, *, backfill: bool = False
) -> list[Missing]:
    """Which snapshots `compute` would write, moment by moment.

    Raises:
        EmptyLakeError: the lake holds no events.
    """
    lake.prepare()
    features = list(features)
    backfilled = {feature: _backfilled(feature, into) for feature in features}
    wanted: dict[datetime | None, list[Feature]] = defaultdict(list)
    for feature in features:
        if feature.reads in TABLES:
            wanted[None].append(feature)
            continue
        asked = set(moments) if feature.trained_on else {max(moments)}
        for at in asked | backfilled[feature]:
            wanted[at].append(feature)
    in_order = sorted(moment for moment in wanted if moment)
    # Without a moment first: whatever tables there are, they are small.
    ordered: list[datetime | None] = [*([None] if None in wanted else []), *in_order]
    data = _data(lake, in_order)
    found = []
    for moment in ordered:
        for feature in wanted[moment]:
            digest = hashlib.sha256(f"{code_digest(feature)}\n{data(feature, moment)}".encode()).hexdigest()[:12]
            path = snapshot(into, feature.name, moment)
            manifest = Manifest.of(path)
            if not path.exists() or manifest is None or manifest.digest != digest:
                asked_for = moment in backfilled[feature] or (backfill and moment in moments)
                found.append(Missing(feature, moment, digest, asked_for))
    return found


def snapshot(into: Path, feature: str, moment: datetime | None) -> Path:
    """File of a feature's rows as of a moment; None: of a table that carries its own time."""
    name = f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}" if moment else "all"
    return into / feature / f"{name}.parquet"


def newest(into: Path, feature: str) -> datetime | None:
    """The latest moment that a feature was computed for; None: it never was."""
    manifests = (Manifest.of(path) for path in (into / feature).glob("*Z.parquet"))
    return max((manifest.moment for manifest in manifests if manifest and manifest.moment), default=None)


def prune(features: Iterable[Feature], moments: Sequence[datetime], into: Path) -> int:
    """Remove snapshots that were once the newest: not of `moments`, not of a backfill, and older than the newest
    moment by more than `KEPT`.

    Returns:
        How many.
    """
    removed = 0
    with one_writer(into):
        for feature in features:
            for path, manifest in _snapshots(feature, into):
                moment = manifest.moment if manifest else None
                if manifest is None or moment is None or manifest.backfilled or moment in moments:
                    continue
                if moment < max(moments) - KEPT:
                    _remove(path)
                    removed += 1
    return removed


@contextmanager
def one_writer(into: Path, wait_s: float = PATIENT_S) -> Iterator[None]:
    """Nobody else writes snapshots under `into`.

    Raises:
        FeaturesBusyError: somebody does, for longer than `wait_s`.
    """
    with file_lock(into.with_name(f"{into.name}.lock"), f"the snapshots' folder {into}", wait_s):
        yield


def _write(cut: Cut, one: Missing, into: Path, engine: str, run: str, batches: list[str]) -> int:
    feature = one.feature
    path = snapshot(into, feature.name, one.moment)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with full_disk_named(path, "the snapshots written before it are whole, and Feast's registry is as it was"):
        try:
            # To a neighbour and renamed: a reader or a kill never meets half a file. The manifest comes last.
            rows = cut.write(feature.expression(cut.tables[feature.reads]), partial)
            _drop_old_code(feature, into)  # a reader meets fewer moments, never two definitions
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        Manifest(
            feature=feature.name,
            moment=one.moment,
            digest=one.digest,
            rows=rows,
            engine=engine,
            run=run,
            computed_at=datetime.now(UTC),
            batches=batches,
            code=code_digest(feature),
            backfilled=one.backfilled,
        ).save(path)
    return rows


def _data(lake: Lake, moments: Sequence[datetime]) -> Callable[[Feature, datetime | None], str]:
    """What a feature's value at a moment depends on in the data: it changes when that does."""
    [items], [users] = (lake.fingerprints(table, [None]) for table in (lake.items, lake.users))
    events = [
        f"{count} {items_then}"
        for count, items_then in zip(lake.events_until(moments), lake.fingerprints(lake.items, moments), strict=True)
    ]
    tables: Mapping[Input, str] = {"items": items, "users": users}
    of_moment = dict(zip(moments, events, strict=True))
    return lambda feature, moment: tables[feature.reads] if moment is None else of_moment[moment]


def _snapshots(feature: Feature, into: Path) -> Iterator[tuple[Path, Manifest | None]]:
    for path in sorted((into / feature.name).glob("*.parquet")):
        yield path, Manifest.of(path)


def _backfilled(feature: Feature, into: Path) -> set[datetime]:
    manifests = [manifest for _, manifest in _snapshots(feature, into)]
    return {m.moment for m in manifests if m and m.backfilled and m.moment}


def _mark(feature: Feature, moments: Sequence[datetime], into: Path) -> None:
    """Snapshots that were there before a backfill asked for them."""
    for moment in moments:
        path = snapshot(into, feature.name, moment)
        manifest = Manifest.of(path)
        if manifest and not manifest.backfilled:
            replace(manifest, backfilled=True).save(path)


def _drop_old_code(feature: Feature, into: Path) -> None:
    code = code_digest(feature)
    for path, manifest in _snapshots(feature, into):
        if manifest is None or manifest.code != code:
            _remove(path)


def _remove(path: Path) -> None:
    path.unlink()
    path.with_suffix(".json").unlink(missing_ok=True)


def _clean(into: Path) -> None:
    """Drop what a killed run was writing."""
    for left in into.glob("*/*.partial*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
