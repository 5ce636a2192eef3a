"""What a shop of a size needs, from measured costs of one event, one answer, one user: arithmetic, shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from feature_repo.schema import HISTORY_EVENTS
from flows.time_limits import TIME_LIMITS_S
from flows.unit_costs import UnitCosts

MANY_ITEMS: Final = 92_000
"""Above so many an answer costs as at a million"""
DAY_S: Final = 86_400
MONTH_S: Final = 30 * DAY_S
FEATURES_EVERY_S: Final = 3_600
"""The schedule's; the newest snapshot of all events must be done before the next."""


@dataclass(frozen=True)
class Shop:
    """What is asked of an installation, around the clock.

    Attributes:
        days: of events in the lake, which forgets none.
        log_days: of events in the log.
        moments: that features are needed for. At midnight the training's move on by a day, and all are computed.
        redis_gb: of the one Redis server.
    """

    users: float
    items: float
    events_per_s: float
    requests_per_s: float
    days: float
    log_days: float
    moments: int
    redis_gb: float

    @property
    def events(self) -> float:
        """In the lake."""
        return self.events_per_s * DAY_S * self.days

    @property
    def history(self) -> float:
        """Events of a user that the rows online are made of."""
        return min(self.events / self.users, HISTORY_EVENTS)


@dataclass(frozen=True)
class Need:
    """What one part needs.

    Attributes:
        sum: the arithmetic.
        times: the need, in times of what one installation as it is can give; None: machines are added as needed.
    """

    part: str
    sum: str
    need: str
    times: float | None = None

    def row(self) -> dict[str, str]:
        """For a table."""
        limit = "add more" if self.times is None else f"{_short(self.times)} times"
        return {"part": self.part, "arithmetic": self.sum, "need": self.need, "of one installation's limit": limit}


def needs(shop: Shop, cost: UnitCosts) -> list[Need]:
    """Part by part; the arithmetic of each with its measured cost."""
    rate, machine = shop.events_per_s, f"{cost.cores} cores"
    growth = cost.many_items if shop.items > MANY_ITEMS else 1.0
    answers = shop.requests_per_s * cost.cores / cost.answers_per_s * growth
    intake = rate * cost.cores / cost.accepted_per_s
    applied = rate / cost.applied_per_s
    rows_gb = shop.users * shop.history * cost.row_b / 1e9
    log_gb = rate * DAY_S * shop.log_days * cost.log_b / 1e9
    lake_gb = rate * MONTH_S * cost.lake_b / 1e9
    ingest = rate * cost.ingest_s / 1e6
    snapshot_s = shop.events * cost.features_s / 1e6
    midnight_s = snapshot_s * shop.moments  # no more than that: the earlier moments have fewer events before them
    features = max(snapshot_s / FEATURES_EVERY_S, midnight_s / TIME_LIMITS_S["features"])
    training_s = shop.events * cost.training_s / 1e6
    asked = f"{_short(shop.requests_per_s)}/s" + (f" × {growth:g}" if growth != 1 else "")
    return [
        Need("service, answers", f"{asked} ÷ {cost.answers_per_s:g}/s of {machine}",
             f"{_short(answers)} cores"),
        Need("service, events in", f"{_short(rate)}/s ÷ {cost.accepted_per_s:,.0f}/s of {machine}",
             f"{_short(intake)} cores"),
        Need("stream path", f"{_short(rate)}/s ÷ {cost.applied_per_s:,.0f}/s of one process",
             f"{_short(applied)} partitions of the log, each with a process", applied),
        Need("Redis, users' rows",
             f"{_short(shop.users / 1e6)} M users × {_short(shop.history)} events × {cost.row_b:.0f} B",
             f"{_short(rows_gb)} GB of {shop.redis_gb:g}", rows_gb / shop.redis_gb),
        Need("Redis, event log", f"{_short(rate)}/s × {shop.log_days:g} days × {cost.log_b:.0f} B",
             f"{_short(log_gb)} GB of {shop.redis_gb:g}", log_gb / shop.redis_gb),
        Need("lake", f"{_short(rate)}/s × 30 days × {cost.lake_b:.0f} B", f"{_short(lake_gb)} GB a month"),
        Need("ingest", f"{_short(rate)}/s × {cost.ingest_s:g} s a million, one writer of {machine}",
             f"{_short(ingest)} machines", ingest),
        Need("batch features",
             f"{_short(shop.events / 1e6)} M events × {cost.features_s:g} s on {machine}, "
             f"at midnight × {shop.moments} moments",
             f"{_short(snapshot_s / 3600)} hours a snapshot, {_short(midnight_s / 3600)} at midnight; "
             f"for both in time {_short(features * cost.cores)} cores", features),
        Need("training", f"{_short(shop.events / 1e6)} M events × {cost.training_s:.0f} s on {machine}",
             f"{_short(training_s / 3600)} hours", training_s / TIME_LIMITS_S["train"]),
    ]  # fmt: skip


def first_saturated(found: list[Need]) -> Need:
    """The part that is asked for most, in times of its limit."""
    return max((need for need in found if need.times is not None), key=lambda need: need.times or 0.0)


def _short(number: float) -> str:
    """Three digits that count, with thousands told apart."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
