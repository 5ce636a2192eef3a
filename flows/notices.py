"""Who is told of alarms and of flows that failed: an automation of Prefect's that posts to a web hook."""

from __future__ import annotations

from typing import Final

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture

from flows.alarms import PREFIX

NAME: Final = "kairos-notices"
FAILED: Final = ("prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut")
_BODY: Final = """{{ event.resource['prefect.resource.name'] }}
{% if event.payload.said %}{{ event.payload.said }}{% endif %}"""


def notify(url: str) -> None:
    """Post every alarm and every failed run from now on to an address, and to no other.

    Args:
        url: takes a POST of JSON with `text`, as Slack's, Mattermost's and Teams' incoming hooks do.
    """
    # Whoever knows a hook can post to it, so Prefect keeps the address as a secret.
    text = {"text": "{{subject}}\n{{body}}"}
    block = CustomWebhookNotificationBlock(name=NAME, url="{{hook}}", json_data=text, secrets={"hook": url})
    block_id = block.save(NAME, overwrite=True)
    _forget()
    Automation(
        name=NAME,
        description="Alarms of Kairos and runs that failed, to the web hook of the block of this name",
        trigger=EventTrigger(expect={f"{PREFIX}.*", *FAILED}, posture=Posture.Reactive, threshold=1),
        actions=[
            SendNotification(block_document_id=block_id, subject="Kairos: {{ event.event }}", body=_BODY),
        ],
    ).create()


def _forget() -> None:
    """The notices of before."""
    with get_client(sync_client=True) as client:
        for automation in client.read_automations_by_name(NAME):
            client.delete_automation(automation.id)
