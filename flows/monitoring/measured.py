"""What was measured of one part, beside what it should be, and how it is kept: one JSON per look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from flows.json_file import write_json

Part = Literal["data", "predictions", "outcomes", "freshness"]
PARTS: Final[tuple[Part, ...]] = ("data", "predictions", "outcomes", "freshness")
KEPT: Final = 100
"""Looks of each part that are kept"""


@dataclass(frozen=True)
class Measured:
    """One number, and between which it should lie.

    Attributes:
        name: of the measure, and after a colon what it is of: a column, an event type, a variant.
        low, high: included; None: no limit on that side.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def broken(self) -> bool:
        return (self.low is not None and self.value < self.low) or (self.high is not None and self.value > self.high)

    def __str__(self) -> str:
        """For people."""
        expected = [
            f"at {which} {limit:.4g}"
            for which, limit in (("least", self.low), ("most", self.high))
            if limit is not None
        ]
        return f"{self.name} is {self.value:.4g}, expected {' and '.join(expected) or 'nothing'}"


@dataclass(frozen=True)
class Look:
    """All that was measured of a part at one time.

    Attributes:
        at: UTC.
        about: what was looked at, in words.
        measures: empty where there was nothing to measure; `about` says why.
    """

    part: Part
    at: datetime
    about: str
    measures: tuple[Measured, ...] = ()

    @property
    def broken(self) -> list[Measured]:
        return [measured for measured in self.measures if measured.broken]

    @property
    def said(self) -> str:
        """What is out of order, for an alarm; empty where nothing is."""
        return f"{self.about}: {'; '.join(map(str, self.broken))}" if self.broken else ""

    def save(self, folder: Path) -> None:
        """Keep it as the newest of its part; the oldest go."""
        write_json(
            folder / self.part / f"{self.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json",
            asdict(self) | {"at": self.at.isoformat()},
        )
        for old in _files(folder, self.part)[:-KEPT]:
            old.unlink()


def newest(folder: Path, part: Part) -> Look | None:
    """The last look at a part; None: there was none yet."""
    files = _files(folder, part)
    if not files:
        return None
    content = json.loads(files[-1].read_text())
    measures = tuple(Measured(**measured) for measured in content["measures"])
    return Look(part, datetime.fromisoformat(content["at"]), content["about"], measures)


def newly_broken(look: Look, before: Look | None) -> list[Measured]:
    """What is out of order and was not at the look before: an alarm tells of it once."""
    known = {measured.name for measured in before.broken} if before else set()
    return [measured for measured in look.broken if measured.name not in known]


def above(name: str, value: float, before: Sequence[float], more: float) -> Measured:
    """At most so much more than the highest before."""
    return Measured(name, value, high=max(before, default=0.0) + more)


def within(name: str, value: float, before: Sequence[float], times: float) -> Measured:
    """At most so many times below the lowest before, or above the highest."""
    return Measured(name, value, low=min(before) / times, high=max(before) * times)


def _files(folder: Path, part: Part) -> list[Path]:
    return sorted((folder / part).glob("*Z.json"))
