"""The arithmetic of capacity, by hand, and what is said where a cost was not measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows import cli
from flows.capacity import Shop, first_saturated, needs
from flows.errors import MissingFigureError
from flows.present import console
from flows.unit_costs import UnitCosts
from infra.settings import Settings

COSTS = UnitCosts(
    cores=2,
    answers_per_s=200,
    many_items=1.5,
    accepted_per_s=5_000,
    applied_per_s=2_500,
    log_b=500,
    row_b=100,
    lake_b=50,
    ingest_s=10,
    features_s=8,
    training_s=100,
)
SHOP = Shop(
    users=1e6, items=1e6, events_per_s=10_000, requests_per_s=1_000, days=10, log_days=1, moments=8, redis_gb=100
)  # 8.64 G events in the lake, so each user's newest 5,000 count


def figure(value: Any, **detail: Any) -> dict[str, Any]:
    return {"value": value, "unit": "", "target": None, "met": True, "detail": detail}


REPORTS: dict[str, dict[str, Any]] = {
    "serving": {
        "machine": {"cores": 2},
        "figures": {
            "throughput": figure(43.5, per_s={"kairos": 200, "floor": 460}),
            "million_items": figure(1.5),
            "events_rate": figure(5_000),
        },
    },
    "features": {
        "figures": {"stream": figure(2_500, materialized={"mb": 150}), "pipeline": figure(55, events=1_500_000)}
    },
    "ops": {
        "figures": {
            "log_memory": figure(500),
            "scale": figure(
                1.1,
                events={
                    "1,500,000": {"ingest": {"s_per_million_events": 9}, "features": {}, "lake_mb": 1},
                    "15,000,000": {
                        "ingest": {"s_per_million_events": 10},
                        "features": {"s_per_million_events": 8},
                        "lake_mb": 750,
                    },
                },
            ),
        }
    },
    "demo": {"seconds": {"train": 150}, "rows": {"events": 1_500_000}},
}


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for name, content in REPORTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_the_costs_come_out_of_the_reports_the_largest_size_counts(reports: Path) -> None:
    assert UnitCosts.of(reports) == COSTS


@pytest.mark.parametrize(
    ("part", "need", "times"),
    [
        ("service, answers", "15 cores", None),  # 1,000 / 200 × 2 × 1.5
        ("service, events in", "4 cores", None),  # 10,000 / 5,000 × 2
        ("stream path", "4 partitions of the log, each with a process", 4.0),  # 10,000 / 2,500
        ("Redis, users' rows", "500 GB of 100", 5.0),  # a million × 5,000 × 100 B
        ("Redis, event log", "432 GB of 100", 4.32),  # 864 M × 500 B
        ("lake", "1,300 GB a month", None),  # 25.92 G × 50 B = 1,296 GB
        ("ingest", "0.1 machines", 0.1),  # 10,000 × 10 / 1 M
        # 8,640 M × 8 s; eight times that within 6 hours
        ("batch features", "19.2 hours a snapshot, 154 at midnight; for both in time 51.2 cores", 25.6),
        ("training", "240 hours", 20.0),  # 8,640 M × 100 s, of 12 hours
    ],
)
def test_what_each_part_needs(part: str, need: str, times: float | None) -> None:
    [found] = [each for each in needs(SHOP, COSTS) if each.part == part]
    assert (found.need, found.times) == (need, pytest.approx(times))


def test_the_part_that_is_asked_for_most_saturates_first() -> None:
    assert first_saturated(needs(SHOP, COSTS)).part == "batch features"


def test_with_few_moments_the_snapshot_of_each_hour_is_what_counts() -> None:
    [found] = [each for each in needs(replace(SHOP, moments=2), COSTS) if each.part == "batch features"]
    assert found.times == pytest.approx(19.2)  # of one hour, and 2 × 19.2 of 6 hours


def test_few_items_and_few_events_cost_what_they_are() -> None:
    small = Shop(
        users=1_000, items=5_000, events_per_s=1, requests_per_s=100, days=1, log_days=1, moments=8, redis_gb=100
    )  # 86.4 events a user
    found = {each.part: each for each in needs(small, COSTS)}
    assert found["service, answers"].need == "1 cores"
    assert "× 86.4 events" in found["Redis, users' rows"].sum


def without(report: str, name: str) -> str:
    content = json.loads(json.dumps(REPORTS[report]))
    del content["figures"][name]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("report", "content", "command"),
    [
        ("demo", None, "make demo"),
        ("serving", None, "python -m benchmarks.serving"),
        ("ops", without("ops", "scale"), "python -m benchmarks.ops scale"),
        ("features", json.dumps({"figures": {"stream": figure(None)}}), "python -m benchmarks.features stream"),
        ("ops", json.dumps({"figures": {"scale": figure(1.0, quick=True)}}), "python -m benchmarks.ops scale"),
    ],
)
def test_a_figure_that_was_not_measured_is_named_with_its_command(
    reports: Path, report: str, content: str | None, command: str
) -> None:
    file = reports / f"{report}.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(MissingFigureError, match=f"measure it with {command}$"):
        UnitCosts.of(reports)


def test_the_command_shows_the_arithmetic_and_what_saturates_first(
    reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli_capacity.settings", lambda: Settings(reports=reports))
    monkeypatch.setattr(console, "width", 200)  # it was made when the first test of this process asked for it
    asked = ["--users", "10e6", "--items", "1e6", "--events-per-s", "50000"]
    result = CliRunner().invoke(cli.app, ["capacity", *asked])
    assert result.exit_code == 0, result.output
    assert "50,000/s ÷ 2,500/s of one process" in result.output
    assert "Saturated first: batch features" in result.output
