"""Values with their intervals as a picture for a page: one row each, on one axis that begins at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

_WIDTH: Final = 640
_ROW: Final = 26
_LEFT: Final = 140
"""Of the names"""
_RIGHT: Final = 70
"""Of the values"""


@dataclass(frozen=True)
class Mark:
    """A row: where its dot and the ends of its line lie, in pixels from the left."""

    name: str
    label: str
    y: float
    dot: float
    low: float
    high: float


@dataclass(frozen=True)
class Plot:
    """Everything that the page draws."""

    width: int
    height: int
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    """Pixels from the left, and what stands there"""
    bottom: int
    """Where the axis lies, in pixels from the top"""


def plot_of(rows: Sequence[tuple[str, float, float, float]]) -> Plot:
    """Rows of name, value, low and high, none below 0, from the top down."""
    largest = max((high for *_, high in rows), default=0.0) or 1.0
    step = _step(largest)
    scale = (_WIDTH - _LEFT - _RIGHT) / largest
    marks = tuple(
        Mark(name, f"{value:.4f}", _ROW * (n + 0.5), *(round(_LEFT + x * scale, 1) for x in (value, low, high)))
        for n, (name, value, low, high) in enumerate(rows)
    )
    bottom = _ROW * len(rows) + 4
    ticks = tuple((round(_LEFT + n * step * scale, 1), f"{n * step:g}") for n in range(int(largest / step + 1e-9) + 1))
    return Plot(_WIDTH, bottom + 24, marks, ticks, bottom)


def _step(largest: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are 3 to 8 steps."""
    power: float = 10.0 ** floor(log10(largest / 4))
    return next(power * times for times in (1, 2, 5, 10) if largest / (power * times) <= 7)
