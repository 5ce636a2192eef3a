"""How a task that failed is tried again: later each time, and not at one moment with the others that failed with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypedDict

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

JITTER: Final = 0.5
"""By how much of itself a delay may differ"""


class Retries(TypedDict):
    """Of a task's arguments, those that say when it is tried again."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float


def again(times: int, after_s: float = 5.0) -> Retries:
    """Try again `times` times, first after `after_s`, then after twice as long each time."""
    return {"retries": times, "retry_delay_seconds": exponential_backoff(after_s), "retry_jitter_factor": JITTER}


def may_pass(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help: a disk or network that failed, never data that breaks a rule."""
    return isinstance(state.result(raise_on_failure=False), OSError)
