"""What status and doctor say where the service and Prefect run in other containers, or on other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.doctor import diagnose
from flows.prefect_api import has_own_platform
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
    assert "platform" not in found
    assert found["service"] == {"url": NOBODY, "state": "does not answer"}
    todos = {each.part: each.todo for each in diagnose(config) if each.part in ("service", "schedules")}
    assert todos == {
        "service": "start it, or set KAIROS_SERVICE_URL to where it is",
        "schedules": "start it, or correct PREFECT_API_URL",
    }
