"""What the schedules need of Prefect's server: is all of it there?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import WorkerStatus
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import lost_runs
from flows.platform import JOBS
from flows.prefect_api import POOL, has_own_platform, prefect_url
from flows.registration import DEPLOYMENTS
from infra.settings import Settings


@dataclass(frozen=True)
class Missing:
    """Something without which no schedule runs, or its run dies without a word.

    Attributes:
        said: what is not there.
        todo: what mends it.
    """

    said: str
    todo: str


def missing(config: Settings) -> list[Missing]:
    """What is not there; empty where all is."""
    api, own = prefect_url(config), has_own_platform(config)
    try:
        httpx.get(f"{api}/health", timeout=2).raise_for_status()  # Prefect's client would try for long
        with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
            return list(_missing_there(client, own))
    except httpx.HTTPStatusError as error:
        said = f"the Prefect server at {api} answers with status {error.response.status_code}"
        return [Missing(said, "set PREFECT_API_AUTH_STRING if it asks for a password; its log says more")]
    except httpx.HTTPError:
        todo = "kairos up, or set" if own else "start it, or correct"
        return [Missing(f"no Prefect server answers at {api}", f"{todo} PREFECT_API_URL")]


def _missing_there(client: SyncPrefectClient, own: bool) -> Iterator[Missing]:
    start, register = f"prefect worker start --pool {POOL} --limit {JOBS}", "kairos deploy"
    if own:
        start = register = "kairos up"
    if not _has_worker(client):
        yield Missing(f"no worker of the pool {POOL} is online", start)
    if lacking := _not_deployed(client):
        yield Missing(f"not deployed: {', '.join(lacking)}", register)
    if not any(automation.enabled for automation in client.read_automations_by_name(lost_runs.NAME)):
        yield Missing("nothing looks for runs that died", register)


def _has_worker(client: SyncPrefectClient) -> bool:
    try:
        workers = client.read_workers_for_work_pool(POOL)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return False  # there is not even the pool
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


def _not_deployed(client: SyncPrefectClient) -> list[str]:
    of_ours = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    there = {deployment.name for deployment in client.read_deployments(work_pool_filter=of_ours)}
    wanted = [deployment["name"] for deployment in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]]
    return [name for name in wanted if name not in there]
