"""`kairos doctor`: looks an installation over, part by part, and says what is wrong and what to do about it.

It reads: what is not there is told, and not made.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

import httpx
from feast.errors import FeastObjectNotFoundException

from feature_repo.errors import EmptyLakeError, EventLogDownError, FeatureError, RegistryDownError
from feature_repo.event_log import FEATURES_CONSUMER, has_event_log, open_event_log
from feature_repo.lake import Lake
from feature_repo.store import Features
from flows.feature_plan import plan
from flows.monitoring.freshness import answers_behind, training_behind
from flows.mounted_home import half_restored
from flows.prefect_api import has_own_service, prefect_url
from flows.schedules import missing
from flows.serving import LIVE
from infra.settings import PROJECT_ROOT, Settings
from infra.thresholds import thresholds
from models import bundle, registry, smoke
from models.errors import ModelError

Verdict = Literal["ok", "warning", "error"]
LEAST_FREE_GB: Final = 5.0
"""What a training run and a backup of a middling shop need."""


@dataclass(frozen=True)
class Diagnosis:
    """What one look found."""

    part: str
    verdict: Verdict
    said: str
    todo: str = ""
    """What to do; empty where all is well."""


def diagnose(config: Settings) -> list[Diagnosis]:
    """Looks at every part; one that cannot be looked at is an error itself, and the others are looked at too."""
    looks: tuple[tuple[str, Callable[[Settings], Iterator[Diagnosis]]], ...] = (
        ("libraries", _libraries), ("home", _home), ("data", _data), ("features", _features), ("online store", _online),
        ("event log", _event_log), ("model", _model), ("service", _service), ("schedules", _schedules),
    )  # fmt: skip
    found: list[Diagnosis] = []
    for part, look in looks:
        try:
            found += look(config)
        except Exception as error:  # noqa: BLE001 - whatever is broken, the rest of the installation is looked at
            found.append(Diagnosis(part, "error", f"{type(error).__name__}: {error}", "KAIROS_DEBUG=1 shows where"))
    return found


def _libraries(config: Settings) -> Iterator[Diagnosis]:
    """The versions of the lock are the ones that were tested together."""
    lock = PROJECT_ROOT / "requirements.lock"
    wanted = (
        dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;+]+)", lock.read_text(), re.MULTILINE)) if lock.exists() else {}
    )
    other = {}
    for name, release in wanted.items():
        try:
            there = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue  # an extra that is not installed
        if there != release:
            other[name] = f"{name} {there} instead of {release}"
    if other:
        yield Diagnosis("libraries", "warning", ", ".join(other.values()), "make setup installs what the lock names")
    else:
        yield Diagnosis("libraries", "ok", f"{len(wanted)} as in the lock")


def _home(config: Settings) -> Iterator[Diagnosis]:
    if not config.home.is_dir():
        yield Diagnosis("home", "error", f"{config.home} is not there", "kairos demo or kairos ingest makes it")
        return
    if not os.access(config.home, os.W_OK):
        yield Diagnosis("home", "error", f"{config.home} cannot be written", "let this user write there")
    if half_restored(config.home):
        yield Diagnosis("home", "error", f"a restore into {config.home} was killed half-way",
                        "stop services and jobs, then run that kairos restore again")  # fmt: skip
    free = shutil.disk_usage(config.home).free / 1e9
    said = f"{config.home}, {free:.0f} GB free"
    if free < LEAST_FREE_GB:
        yield Diagnosis("home", "warning", said, f"keep {LEAST_FREE_GB:.0f} GB free: a training or a backup needs them")
    else:
        yield Diagnosis("home", "ok", said)
    for file in (config.keys_file, config.request_log):
        if file.exists() and file.stat().st_mode & 0o077:
            yield Diagnosis("home", "error", f"{file} can be read by others", f"chmod 600 {file}")


def _data(config: Settings) -> Iterator[Diagnosis]:
    try:
        summary = Lake(config.lake).summary()
    except EmptyLakeError as error:
        yield Diagnosis("data", "error", "no events", str(error))
        return
    yield Diagnosis("data", "ok", f"{summary['events']:,} events of {summary['users']:,} users")
    newest = summary["newest"]
    assert isinstance(newest, datetime)
    if newest > datetime.now(UTC) + timedelta(days=1):
        yield Diagnosis("data", "error", f"the newest event is of {newest:%Y-%m-%d %H:%M} UTC, in the future",
                        "correct the source's clock or time zone")  # fmt: skip
    if rejected := len(list(config.quarantine.glob("*.parquet"))):
        yield Diagnosis("data", "warning", f"{rejected} batches have rejected rows", "kairos quarantine list")


def _features(config: Settings) -> Iterator[Diagnosis]:
    if not (config.feast.is_dir() or config.features.is_dir()):
        yield Diagnosis("features", "warning", "none yet", "kairos features")  # to open Feast would make its folder
        return
    found = plan(config)
    missing = sum(found.snapshots.values())
    if found.changes:
        yield Diagnosis("features", "warning", f"feature files and registry differ, {len(found.changes)} times",
                        "kairos features plan, then kairos features apply")  # fmt: skip
    if missing:
        yield Diagnosis("features", "warning", f"{missing} snapshots are missing or older than their events",
                        "kairos features")  # fmt: skip
    if not found.changes and not missing:
        yield Diagnosis("features", "ok", "registry, snapshots and feature files agree")


def _online(config: Settings) -> Iterator[Diagnosis]:
    try:
        held = registry.champion(config.champion)
        names = bundle.manifest(registry.bundle_path(held.tag))["features"]
    except (registry.NoChampionError, ValueError, TypeError):
        return  # the look at the model says so
    try:
        user = Lake(config.lake).newest_user()
        row = Features.open(config).online_user(user, names, datetime.now(UTC))
    except FeastObjectNotFoundException as error:
        yield Diagnosis("online store", "error", f"the registry lacks what the model reads: {error}", "kairos features")
        return
    except RegistryDownError as error:
        yield Diagnosis("online store", "error", str(error), "start PostgreSQL, or correct KAIROS_REGISTRY")
        return
    except FeatureError as error:
        yield Diagnosis("online store", "error", str(error), "start Redis, or correct KAIROS_REDIS_URL")
        return
    if any(value is not None and (not isinstance(value, list) or value) for value in row.values()):
        yield Diagnosis("online store", "ok", "the user of the newest event is known")
    else:
        yield Diagnosis("online store", "error", "the user of the newest event is unknown to it", "kairos features")


def _event_log(config: Settings) -> Iterator[Diagnosis]:
    if not has_event_log(config):
        yield Diagnosis("event log", "ok", "none yet: the service makes it")
        return
    try:
        with closing(open_event_log(config)) as log:
            lacks = log.durability()
            waiting = log.waiting(FEATURES_CONSUMER) if log.last() else 0
    except EventLogDownError as error:
        yield Diagnosis("event log", "error", str(error), "start Redis, or correct KAIROS_REDIS_URL")
        return
    if lacks:
        yield Diagnosis("event log", "warning", lacks, "set what it names in the configuration of Redis")
    if waiting > thresholds(config).service.events_waiting:
        yield Diagnosis("event log", "warning", f"{waiting:,} events wait for the features",
                        "see that a service runs; its log says why events are not applied")  # fmt: skip
    elif not lacks:
        yield Diagnosis("event log", "ok", f"{waiting:,} events wait for the features")


def _model(config: Settings) -> Iterator[Diagnosis]:
    try:
        held = registry.champion(config.champion)
        folder = registry.bundle_path(held.tag)
    except registry.NoChampionError as error:
        yield Diagnosis("model", "error", str(error), "kairos train && kairos publish")
        return
    except (ValueError, TypeError) as error:
        yield Diagnosis("model", "error", f"{config.champion} is damaged: {error}",
                        f"kairos publish {config.bundles}/BUNDLE, or kairos restore")  # fmt: skip
        return
    try:
        registry.check(folder)
        smoke.try_out(bundle.load(folder))
    except ModelError as error:
        yield Diagnosis("model", "error", str(error), "kairos rollback, then kairos train && kairos publish")
        return
    yield Diagnosis("model", "ok", f"{held.tag} is whole and answers")
    if held.serves != held.tag:
        try:
            folder = registry.bundle_path(held.serves)
            registry.check(folder)
            smoke.try_out(bundle.load(folder))
        except (registry.NoChampionError, ModelError) as error:
            yield Diagnosis("model", "error", f"the champion caught up is not: {error}",
                            "kairos catch-up")  # fmt: skip
    newest = Lake(config.lake).newest_event()
    behind = training_behind(config, newest)
    if behind.total_seconds() > thresholds(config).freshness.training:
        yield Diagnosis("model", "warning", f"{behind.days} days of events are newer than its training and holdout",
                        "see that the deployment `train` runs, or kairos train && kairos publish")  # fmt: skip
    answers = answers_behind(config, newest)
    if answers is not None and answers.total_seconds() > thresholds(config).freshness.catch_up:
        yield Diagnosis("model", "warning", f"what answers knows nothing of the newest {answers.days} days",
                        "kairos catch-up, which says what is in its way; --as-judged if it is to be so")  # fmt: skip


def _service(config: Settings) -> Iterator[Diagnosis]:
    url = config.service_address
    try:
        ready = httpx.get(f"{url}/readyz", timeout=2).is_success
    except httpx.HTTPError:
        here, elsewhere = "kairos serve, or kairos up", "start it, or set KAIROS_SERVICE_URL to where it is"
        todo = here if has_own_service(config) else elsewhere
        yield Diagnosis("service", "warning", f"nothing answers at {url}", todo)
        return
    if not ready:
        yield Diagnosis("service", "error", f"{url}/readyz says no", "its log says which part it waits for")
        return
    yield Diagnosis("service", "ok", f"ready at {url}")
    newest = Lake(config.lake).newest_event()
    if config.require_keys or config.keys_file.exists() or datetime.now(UTC) - newest > LIVE:
        return  # it may not be asked without a key, or its clock stands in the past
    # Nobody's id: a request of somebody's might be logged as theirs.
    answer = httpx.post(f"{url}/v1/recommend", json={"user_id": "kairos-doctor"}, timeout=5)
    step = answer.json().get("served_by") if answer.is_success else f"status {answer.status_code}"
    if step != "full":
        yield Diagnosis(
            "service", "warning", f"it answers from a lower rung: {step}", "docs/serving.md says what is away"
        )


def _schedules(config: Settings) -> Iterator[Diagnosis]:
    lacking = missing(config)
    for each in lacking:
        yield Diagnosis("schedules", "warning", each.said, each.todo)
    if not lacking:
        yield Diagnosis("schedules", "ok", f"Prefect at {prefect_url(config)} has a worker and every deployment")
