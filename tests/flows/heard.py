"""What Prefect's server has heard of alarms."""

from __future__ import annotations

import time
from datetime import datetime

from prefect.client.orchestration import get_client

from flows.alarms import PREFIX, Alarm


def heard(alarm: Alarm, since: datetime) -> str:
    """What the newest alarm of a name has said since a moment, UTC."""
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            wanted = {"event": {"name": [f"{PREFIX}.{alarm}"]}, "occurred": {"since": since.isoformat()}}
            if events := client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]:
                return events[0]["payload"]["said"]
            time.sleep(0.5)
    raise AssertionError(f"{alarm} did not reach the server")
