"""Click and purchase rates by variant, from impressions as shops send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo import schema as s
from feature_repo.lake import Lake
from flows.monitoring.measured import Look
from flows.monitoring.outcomes import MOST_VARIANTS, OTHERS, UNNAMED, compare, gathered, look_at_outcomes, rates
from infra.settings import Settings
from infra.thresholds import thresholds
from tests.flows.shop_days import bring

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
Row = tuple[str, str, str, float, str | None, str | None]
"""User, item, type, hours, request, variant"""


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def add(config: Settings, rows: list[Row]) -> None:
    columns = [s.USER_ID, s.ITEM_ID, s.EVENT_TYPE, "hours", s.REQUEST_ID, s.VARIANT]
    frame = pd.DataFrame(rows, columns=columns)
    times = NOW + pd.to_timedelta(frame.pop("hours"), unit="h").dt.round("ms")
    bring(config, frame.assign(**{s.TIMESTAMP: times, s.EVENT_ID: [f"e{n}" for n in range(len(rows))]}), NOW)


def found(config: Settings, start: float, end: float) -> dict[str, dict[str, int]]:
    return rates(Lake(config.lake).events_sql, NOW + start * HOUR, NOW + end * HOUR, 24 * HOUR)


def test_rates_by_hand(config: Settings) -> None:
    shown = [("u", item, s.IMPRESSION, 0.0, "r1", "a") for item in ("x", "y", "z", "w", "v")]
    add(
        config,
        [
            *shown,
            ("u", "x", s.IMPRESSION, 0.5, "r1", "a"),  # the same place seen twice
            ("u", "x", s.CLICK, 0.6, "r1", None),
            ("u", "x", s.PURCHASE, 5.0, None, None),  # shops' tills know no request
            ("u", "y", s.VIEW, 1.0, None, None),
            ("u", "z", s.CLICK, 1.0, "r2", None),  # of another answer
            ("u", "w", s.CLICK, 24.5, "r1", None),  # too late
            ("u", "v", s.CLICK, -0.5, "r1", None),  # before
            ("other", "v", s.PURCHASE, 1.0, None, None),
            ("u", "x", s.IMPRESSION, 0.0, "r3", "b"),
            ("u", "x", s.IMPRESSION, 0.0, None, None),
            ("u", "q", s.IMPRESSION, 9.0, "r1", "a"),  # after the end
        ],
    )
    assert found(config, 0, 9) == {
        "a": {"impressions": 5, "click rate": 2, "purchase rate": 1},
        "b": {"impressions": 1, "click rate": 0, "purchase rate": 1},
        UNNAMED: {"impressions": 1, "click rate": 1, "purchase rate": 1},
    }


def months(config: Settings, rate: dict[str, tuple[float, float]], seed: int = 7) -> Look:
    """Five weeks of 3,000 impressions of each variant, clicked as often in four of them, and so in the newest."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for variant, (before, newest) in rate.items():
        for n, hours in enumerate(draw.uniform(-36 * 24, -24, 15_000)):
            request, user = f"{variant}{n}", f"u{n % 500}"
            rows.append((user, "x", s.IMPRESSION, hours, request, variant))
            if draw.random() < (newest if hours >= -8 * 24 else before):
                rows.append((user, "x", s.CLICK, hours + 0.1, request, None))
    add(config, rows)
    return look_at_outcomes(config, NOW, NOW)


def test_the_rates_of_the_newest_week_are_told_by_variant(config: Settings) -> None:
    look = months(config, {"a": (0.10, 0.10), "b": (0.05, 0.05)})
    values = {measured.name: measured.value for measured in look.measures}
    assert values["click rate: a"] == pytest.approx(0.10, abs=0.02)
    assert values["click rate: b"] == pytest.approx(0.05, abs=0.02)
    assert values["purchase rate: a"] == 0
    assert values["impressions: a"] == pytest.approx(3_000, rel=0.1)
    assert look.broken == []


def test_a_rate_that_fell_is_told_and_one_that_rose_is_not(config: Settings) -> None:
    look = months(config, {"a": (0.10, 0.05), "b": (0.05, 0.10)})
    assert [measured.name for measured in look.broken] == ["click rate, upper end of 95 %: a"]
    assert "click rate, upper end of 95 %: a is" in look.said


def test_chance_is_no_fall() -> None:
    """A tenth less of 1,000 is chance, as is a quarter less; nothing is said of fewer."""
    limits = thresholds(Settings()).outcomes
    before = {"a": {"impressions": 4_000, "click rate": 400, "purchase rate": 0}}

    def fell(shown: int, clicked: int) -> bool:
        ours = {"a": {"impressions": shown, "click rate": clicked, "purchase rate": 0}}
        return any(measured.broken for measured in compare(ours, before, limits))

    assert not fell(1_000, 90)
    assert not fell(1_000, 75)
    assert fell(1_000, 50)
    assert not fell(999, 50)


def test_no_impressions_are_no_rates(config: Settings) -> None:
    add(config, [("u", "x", s.CLICK, -30.0, None, None)])
    look = look_at_outcomes(config, NOW, NOW)
    assert look.measures == ()
    assert look.about.startswith("no impressions of 2026-04-23")


def test_variants_of_any_number_are_few_measures(config: Settings) -> None:
    shown = [("u", f"i{n}", s.IMPRESSION, -48.0, f"r{n}", f"v{n % 50}") for n in range(60)]
    add(config, [*shown, ("u", "i49", s.CLICK, -47.0, "r49", None)])
    look = look_at_outcomes(config, NOW, NOW)
    impressions = {one.name: one.value for one in look.measures if one.name.startswith("impressions")}
    assert len(impressions) == MOST_VARIANTS + 1
    assert sum(impressions.values()) == 60
    assert all(impressions[f"impressions: v{n}"] == 2 for n in range(10))  # those that were shown most have their names
    assert impressions[f"impressions: {OTHERS}"] == 30


def test_rates_of_the_others_are_added_up() -> None:
    rates = {name: {"impressions": 10, "click rate": n} for n, name in enumerate("abc")}
    assert gathered(rates, ["b"]) == {
        OTHERS: {"impressions": 20, "click rate": 2},
        "b": {"impressions": 10, "click rate": 1},
    }
