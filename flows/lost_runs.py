"""Runs that died and could not say so: a node was lost, memory ran out, the power failed.

While a run goes on it sends heartbeats to Prefect's server, and when it ends it says how. Of one that only falls silent
an automation says that it crashed, so that whoever is told of crashed runs (`flows/notices.py`) is told of it as well.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from prefect.automations import AutomationCore
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture

NAME: Final = "kairos-lost-runs"
SILENCE: Final = timedelta(minutes=10)
"""Three of the heartbeats that Prefect sends every 180 s, and some (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`)"""


def watch_runs() -> None:
    """Have Prefect's server call each run that falls silent crashed, from now on.

    An automation that is there already stays: a new one would know nothing of the runs that died before it.
    """
    wanted = _automation()
    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(NAME)
        if [_does(one) for one in there] == [_does(wanted)]:
            return
        for one in there:
            client.delete_automation(one.id)
        client.create_automation(wanted)


def _automation() -> AutomationCore:
    silent = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        # Whatever else is heard of the run: it has ended, by whichever name, or waits.
        expect={"prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    # A run that has ended meanwhile stays as it is: no run becomes crashed after its end.
    minutes = SILENCE.total_seconds() / 60
    said = f"Silent for {minutes:g} minutes: it died without a word, with its worker or its machine"
    return AutomationCore(
        name=NAME,
        description="Runs of which no heartbeat is heard any more have crashed",
        trigger=silent,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=said)],
    )


def _does(automation: AutomationCore) -> tuple[Any, ...]:
    """Whether and when it acts, and how."""
    return automation.enabled, automation.trigger.model_dump(), [action.model_dump() for action in automation.actions]
