"""What status and doctor say where the service and Prefect run in other containers, or on other machines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL

from flows.doctor import diagnose
from flows.lost_runs import NAME, watch_runs
from flows.prefect_api import POOL, has_own_platform
from flows.registration import DEPLOYMENTS
from flows.schedules import missing
from flows.status import status
from infra.settings import Settings

NOBODY = "http://127.0.0.1:1"
"""Where nothing answers"""


@pytest.mark.parametrize(
    ("url", "own"),
    [
        (None, True),
        ("http://127.0.0.1:4200/api", True),
        ("http://localhost:4200/api/", True),
        ("http://127.0.0.1:4201/api", False),
        ("http://prefect:4200/api", False),
    ],
)
def test_whose_platform_it_is(url: str | None, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    if url:
        monkeypatch.setenv("PREFECT_API_URL", url)
    assert has_own_platform(Settings()) is own


def test_nobody_is_sent_to_kairos_up_where_it_does_not_run_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{NOBODY}/api")
    config = Settings(home=tmp_path, service_url=f"{NOBODY}/")
    found = status(config)
    away = f"no Prefect server answers at {NOBODY}/api"
    assert found["platform"]["state"] == f"{away}: start it, or correct PREFECT_API_URL"
    assert found["service"] == {"url": NOBODY, "state": "does not answer"}
    todos = {each.part: each.todo for each in diagnose(config) if each.part in ("service", "schedules")}
    assert todos == {
        "service": "start it, or set KAIROS_SERVICE_URL to where it is",
        "schedules": "start it, or correct PREFECT_API_URL",
    }


def test_what_the_schedules_lack_is_told_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    config = Settings(home=tmp_path)
    names = [deployment["name"] for deployment in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]]
    todos = {
        f"no worker of the pool {POOL} is online": "prefect worker start --pool kairos --limit 4",
        f"not deployed: {', '.join(names)}": "kairos deploy",
        "nothing looks for runs that died": "kairos deploy",
    }
    assert {each.said: each.todo for each in missing(config)} == todos
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        try:
            client.send_worker_heartbeat(POOL, "kairos")
            for name in names[1:]:
                client.create_deployment(client.create_flow_from_name(name), name, work_pool_name=POOL)
            watch_runs()
            assert [each.said for each in missing(config)] == [f"not deployed: {names[0]}"]
            client.create_deployment(client.create_flow_from_name(names[0]), names[0], work_pool_name=POOL)
            assert status(config)["platform"] == {"state": "ok", "url": PREFECT_API_URL.value()}
        finally:
            client.delete_work_pool(POOL)
            for deployment in client.read_deployments():
                client.delete_deployment(deployment.id)
            for automation in client.read_automations_by_name(NAME):
                client.delete_automation(automation.id)
