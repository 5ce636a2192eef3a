"""Where the dots and lines of a plot lie, by hand."""

from __future__ import annotations

import pytest

from flows.interval_plot import plot_of


def test_places_are_in_proportion() -> None:
    plot = plot_of([("one", 0.2, 0.1, 0.4), ("other", 0.0, 0.0, 0.0)])
    one, other = plot.marks
    zero, most = other.dot, one.high
    assert one.dot - zero == pytest.approx((most - zero) / 2, abs=0.1)
    assert one.low - zero == pytest.approx((most - zero) / 4, abs=0.1)
    assert most < plot.width
    assert other.y > one.y
    assert [label for _, label in plot.ticks] == ["0", "0.1", "0.2", "0.3", "0.4"]
    assert plot.ticks[1][0] == pytest.approx(one.low, abs=0.1)


@pytest.mark.parametrize("largest", [0.013, 0.05, 0.3, 0.71, 1.0])
def test_a_few_ticks_whatever_the_size(largest: float) -> None:
    assert 4 <= len(plot_of([("one", largest, 0.0, largest)]).ticks) <= 8


def test_where_nothing_is_found_there_is_a_plot_all_the_same() -> None:
    assert plot_of([("one", 0.0, 0.0, 0.0)]).marks[0].dot == plot_of([("one", 0.0, 0.0, 0.0)]).ticks[0][0]
