"""What Prefect's server has heard of alarms."""

from __future__ import annotations

import time

from prefect.client.orchestration import get_client

from flows.alarms import PREFIX, Alarm


def heard(alarm: Alarm) -> str:
    """What the newest alarm of a name said."""
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            asked = {"filter": {"event": {"name": [f"{PREFIX}.{alarm}"]}}}
            if events := client.request("POST", "/events/filter", json=asked).json()["events"]:
                return events[0]["payload"]["said"]
            time.sleep(0.5)
    raise AssertionError(f"{alarm} did not reach the server")
