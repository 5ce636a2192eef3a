"""Who is told of alarms and of flows that failed: automations of Prefect's that post to a web hook."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture

from flows.alarms import PREFIX

NAME: Final = "kairos-notices"
FAILED: Final = ("prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut")
REST: Final = timedelta(hours=1)
"""Of an alarm, or a flow that fails, one is told of in each such time from the first on; ingest may fail twelve."""
OF_ALARMS: Final = EventTrigger(
    expect={f"{PREFIX}.*"}, for_each={"prefect.resource.id"}, posture=Posture.Reactive, threshold=1, within=REST
)
# A run is told of once anyway; what fails again and again is its flow.
OF_FAILED: Final = EventTrigger(
    expect={*FAILED}, for_each={"related:flow:prefect.resource.id"}, posture=Posture.Reactive, threshold=1, within=REST
)
_BODY: Final = """{{ event.resource['prefect.resource.name'] }}
{% if event.payload.said %}{{ event.payload.said }}{% endif %}"""


def notify(url: str) -> None:
    """Post alarms and failed runs from now on to an address, and to no other; each alarm and each flow once an hour.

    Args:
        url: takes a POST of JSON with `text`, as Slack's, Mattermost's and Teams' incoming hooks do.
    """
    # Whoever knows a hook can post to it, so Prefect keeps the address as a secret.
    text = {"text": "{{subject}}\n{{body}}"}
    block = CustomWebhookNotificationBlock(name=NAME, url="{{hook}}", json_data=text, secrets={"hook": url})
    block_id = block.save(NAME, overwrite=True)
    _forget()
    for trigger in (OF_ALARMS, OF_FAILED):
        Automation(
            name=NAME,
            description="Alarms of Kairos or runs that failed, to the web hook of the block of this name",
            trigger=trigger,
            actions=[
                SendNotification(block_document_id=block_id, subject="Kairos: {{ event.event }}", body=_BODY),
            ],
        ).create()


def _forget() -> None:
    """The notices of before."""
    with get_client(sync_client=True) as client:
        for automation in client.read_automations_by_name(NAME):
            client.delete_automation(automation.id)
