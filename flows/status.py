"""What there is, and how fresh: data, features, model, service."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from feature_repo.errors import EmptyLakeError, EventLogDownError, EventLogFullError
from feature_repo.event_log import FEATURES_CONSUMER, INGEST_CONSUMER, has_event_log, open_event_log
from feature_repo.lake import Lake
from flows.backup_manifest import backups_in
from flows.platform import running
from flows.prefect_api import has_own_platform, has_own_service, prefect_url
from infra.settings import Settings
from models import registry

SHOWN = 3
"""Earlier champions."""


def status(config: Settings) -> dict[str, dict[str, Any]]:
    """Part -> what is known of it, with `state` saying what is missing."""
    return {
        "data": _data(config),
        "features": _features(config),
        "model": _model(config),
        "service": _service(config),
        "platform": _platform(config) if has_own_platform(config) else _platform_elsewhere(config),
        "event log": _events(config),
        "backup": _backup(config),
    }


def _data(config: Settings) -> dict[str, Any]:
    try:
        summary = Lake(config.lake).summary()
    except EmptyLakeError as error:
        return {"state": str(error)}
    rejected = len(list(config.quarantine.glob("*.parquet")))
    files = len(list(Lake(config.lake).events_folder.glob("*.parquet")))
    return {"state": "ok", **summary, "event files": files, "batches with rejected rows": rejected}


def _features(config: Settings) -> dict[str, Any]:
    snapshots = sorted(path.name for path in (config.features / "user_activity").glob("*.parquet"))
    if not snapshots:
        return {"state": "none: run `kairos features`"}
    newest = datetime.strptime(snapshots[-1], "%Y%m%dT%H%M%S.%fZ.parquet").replace(tzinfo=UTC)
    views = sum(1 for path in config.features.iterdir() if path.is_dir())
    return {"state": "ok", "views": views, "moments": len(snapshots), "as of": newest, "written": _age(config.features)}


def _model(config: Settings) -> dict[str, Any]:
    try:
        champion = registry.champion(config.champion)
    except registry.NoChampionError as error:
        return {"state": str(error)}
    except (ValueError, TypeError) as error:
        return {"state": f"{config.champion} is damaged: {error}; kairos doctor says more"}
    evaluation = config.evaluation(champion.tag)
    known: dict[str, Any] = {"state": "ok", "champion": champion.tag, "in service since": champion.since}
    if champion.caught_up:
        known["answers"] = "as it was judged" if champion.is_held else f"{champion.serves}, the champion caught up"
    known |= {f"{n} before": f"{reign.tag}, since {reign.since}" for n, reign in enumerate(champion.before[:SHOWN], 1)}
    if evaluation.exists():
        hybrid = json.loads(evaluation.read_text())["hybrid"]
        known |= {f"NDCG@10, {page} items": round(hybrid[page]["ndcg@10"]["value"], 4) for page in ("all", "novel")}
    return known


def _service(config: Settings) -> dict[str, Any]:
    url = config.service_address
    known: dict[str, Any] = {"url": url}
    try:
        known["state"] = "ok" if httpx.get(f"{url}/healthz", timeout=2).is_success else "not ready"
    except httpx.HTTPError:
        known["state"] = "not running: run `kairos serve`" if has_own_service(config) else "does not answer"
    return known


def _platform(config: Settings) -> dict[str, Any]:
    found = running(config)
    stopped = [name for name, pid in found.items() if pid is None]
    state = "does not run: kairos up starts it" if len(stopped) == len(found) else "ok"
    if stopped and state == "ok":
        state = f"{', '.join(stopped)} does not run: kairos up starts it"
    return {"state": state, **{name: f"process {pid}" for name, pid in found.items() if pid}}


def _platform_elsewhere(config: Settings) -> dict[str, Any]:
    from flows.schedules import missing  # Prefect takes seconds to load, and the platform here is looked at without it

    lacking = "; ".join(f"{each.said}: {each.todo}" for each in missing(config))
    return {"state": lacking or "ok", "url": prefect_url(config)}


def _events(config: Settings) -> dict[str, Any]:
    if not has_event_log(config):
        return {"state": "no events yet"}
    try:
        with closing(open_event_log(config)) as log:
            if not log.last():
                return {"state": "no events yet"}
            return {
                "state": log.durability() or "ok",
                "not yet in the lake": log.waiting(INGEST_CONSUMER),
                "not yet in the features": log.waiting(FEATURES_CONSUMER),
            }
    except (EventLogDownError, EventLogFullError) as error:
        return {"state": str(error)}


def _backup(config: Settings) -> dict[str, Any]:
    backups = backups_in(config.backups_folder)
    if not backups:
        return {"state": "none: run `kairos backup`"}
    return {"state": "ok", "newest": backups[-1], "backups": len(backups)}


def _age(path: Path) -> datetime:
    newest = max(file.stat().st_mtime for file in path.rglob("*.parquet"))
    return datetime.fromtimestamp(newest, UTC)
