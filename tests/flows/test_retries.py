"""When a task that failed is tried again."""

from __future__ import annotations

from prefect import task
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed

from flows.retries import JITTER, again, may_pass


@task(**again(3, after_s=2))
def _tried() -> None:
    """Never run here."""


def test_each_delay_is_twice_the_one_before_and_none_is_as_another_tasks() -> None:
    assert _tried.retries == 3
    assert _tried.retry_delay_seconds == [2, 4, 8]
    assert _tried.retry_jitter_factor == JITTER > 0


def test_a_disk_that_failed_may_pass_and_data_that_break_a_rule_do_not() -> None:
    run = TaskRun.model_construct()
    assert may_pass(_tried, run, Failed(data=OSError("disk full")))
    assert not may_pass(_tried, run, Failed(data=ValueError("a rule")))
