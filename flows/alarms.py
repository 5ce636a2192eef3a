"""Alarms as Prefect events: what schedules, automations and people are told of by name."""

from __future__ import annotations

from typing import Final, Literal

from prefect.events import emit_event

Alarm = Literal[
    "batch-refused", "features-refused", "features-drifted", "challenger-refused", "data-drifted",
    "predictions-drifted", "outcomes-fell", "stage-behind",
]  # fmt: skip
PREFIX: Final = "kairos.alarm"
SAID: Final = 2_000
"""Characters of a message that an event carries"""


def alarm(name: Alarm, said: str) -> None:
    """Tell the Prefect server; automations on `kairos.alarm.*` do the rest.

    Args:
        name: which one.
        said: what happened, for people.
    """
    emit_event(
        event=f"{PREFIX}.{name}",
        resource={"prefect.resource.id": f"{PREFIX}.{name}", "prefect.resource.name": name},
        payload={"said": said[:SAID]},
    )
