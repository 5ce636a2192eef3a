"""The monitoring step: every part is looked at, what was measured is kept, and what is out of order raises an alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.batch import batches_of
from feature_repo.errors import EmptyLakeError
from flows.alarms import Alarm, alarm
from flows.errors import MonitorError
from flows.monitoring.freshness import look_at_freshness
from flows.monitoring.incoming import look_at_data
from flows.monitoring.measured import PARTS, Look, Measured, Part, newest, newly_broken
from flows.monitoring.metrics import write_metrics
from flows.monitoring.outcomes import look_at_outcomes
from flows.monitoring.predictions import look_at_predictions
from flows.naming import run_name
from flows.serving import clock_start
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings, settings
from models.registry import NoChampionError

ALARMS: Final[dict[Part, Alarm]] = {
    "data": "data-drifted",
    "predictions": "predictions-drifted",
    "outcomes": "outcomes-fell",
    "freshness": "stage-behind",
}


def look_at(part: Part, config: Settings, now: datetime) -> Look | None:
    """Look at one part and keep what was measured; an alarm tells of what is out of order and was not before.

    Args:
        now: UTC.

    Returns:
        None: there is nothing new to look at.
    """
    looks: dict[Part, Callable[[], Look]] = {
        "predictions": lambda: look_at_predictions(config, now),
        "outcomes": lambda: look_at_outcomes(config, now, clock_start(config) or now),
        "freshness": lambda: look_at_freshness(config, now),
    }
    if part == "data":
        return look_at_data(config, now, lambda look: _tell(look, config, look.broken))  # each is at other data
    before = newest(config.monitoring, part)
    look = looks[part]()
    _tell(look, config, newly_broken(look, before))
    return look


def _tell(look: Look, config: Settings, broken: Sequence[Measured]) -> None:
    look.save(config.monitoring)
    if broken:
        alarm(ALARMS[look.part], look.said)


@task(name="look", task_run_name="look-at-{part}")
def _look(part: Part, now: datetime) -> Look | None:
    look = look_at(part, settings(), now)
    if look and look.measures:
        create_table_artifact(key=f"monitor-{part}", table=rows(look), description=look.about)
    return look


@flow(name="monitor", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["monitor"])
def monitor_flow(now: datetime | None = None) -> list[Look]:
    """Look at every part.

    Args:
        now: UTC; by default the clock.

    Returns:
        The newest look at each part that was ever looked at.

    Raises:
        MonitorError: a part could not be looked at; the others were.
    """
    moment, trouble = now or datetime.now(UTC), []
    for part in PARTS:
        try:
            _look(part, moment)
        except NoChampionError:
            continue  # the freshness of the training tells of it
        except EmptyLakeError as error:
            if batches_of(settings().lake):  # it is not new: it has lost its events
                trouble.append(f"{part}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one part, the others are looked at
            trouble.append(f"{part}: {type(error).__name__}: {error}")
    folder = settings().monitoring
    looks = [look for part in PARTS if (look := newest(folder, part))]
    write_metrics(folder, looks)
    if trouble:
        raise MonitorError(f"not everything could be looked at: {'; '.join(trouble)}")
    return looks


def rows(look: Look) -> list[dict[str, str]]:
    """A row per measure, for people."""
    return [
        {
            "part": look.part,
            "measure": measured.name,
            "": "NO" if measured.broken else "ok" if (measured.low, measured.high) != (None, None) else "",
            "is": f"{measured.value:.4g}",
            "at least": "" if measured.low is None else f"{measured.low:.4g}",
            "at most": "" if measured.high is None else f"{measured.high:.4g}",
        }
        for measured in look.measures
    ]
