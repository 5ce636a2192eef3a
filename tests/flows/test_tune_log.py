"""Choices looked for on a file of events, and the evaluation with them, from the command line down."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.errors import TunedReportError
from flows.evaluate_log import evaluate_log
from flows.tuned import tuned_choices
from infra.settings import Settings


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "user_id": f"u{user}",
            "item_id": f"i{(user % 3) * 10 + (user + 3 * day) % 10}",
            "behavior": "purchase",
            "timestamp": f"2024-03-{day:02d}T12:00:00Z",
        }
        for user in range(30)
        for day in range(1, 8)
    ]
    path = tmp_path_factory.mktemp("log") / "events.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_what_is_tuned_is_what_is_evaluated(file: Path, process_home: Settings, tmp_path: Path) -> None:
    report = tmp_path / "tuned.json"
    arguments = ["tune", "--events", str(file), "--model", "neighbours", "--trials", "3", "--report", str(report)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "by default" in done.output
    assert [path.name for path in process_home.home.iterdir()] == ["tuning.journal"]
    written = json.loads(report.read_text())
    assert written["about"] | {"split": "leave-one-out", "users_asked": 30, "trials": 3} == written["about"]
    tuned = written["models"]["neighbours"]
    assert tuned["validation_ndcg"] >= tuned["default_ndcg"]
    assert set(tuned["choices"]) == {"neighbours", "weighting", "fit_half_life_days", "own"}

    # Few neighbours are few suggestions: the choices are seen to be made.
    tuned["choices"] = {"neighbours": 1, "own": 1}
    report.write_text(json.dumps(written))
    plain = evaluate_log(process_home, "csv", {"path": str(file)}, "leave-one-out", model="neighbours")
    few = evaluate_log(process_home, "csv", {"path": str(file)}, "leave-one-out", model="neighbours", tuned=report)
    assert (plain.about["tuned"], few.about["tuned"]) == ("none", "neighbours")
    assert few.models["neighbours"]["auc"]["value"] < plain.models["neighbours"]["auc"]["value"]


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        ("{", "is no report of kairos tune"),
        ('{"models": {}}', "is no report of kairos tune"),
        (
            '{"about": {"split": "temporal:2024-03-02", "keep_seen": false}, "models": {}}',
            "was made with split 'temporal:2024-03-02', expected 'leave-one-out'",
        ),
        ('{"about": {"split": "leave-one-out", "keep_seen": true}, "models": {}}', "keep_seen True, expected False"),
        (
            '{"about": {"split": "leave-one-out", "keep_seen": false}, "models": {"magic": {"choices": {}}}}',
            "there is no model 'magic'",
        ),
    ],
)
def test_a_report_that_does_not_fit_is_told(report: str, wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(report)
    with pytest.raises(TunedReportError, match=wrong):
        tuned_choices(file, "leave-one-out", keep_seen=False)


def test_a_report_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TunedReportError, match="cannot be read"):
        tuned_choices(tmp_path / "none.json", "leave-one-out", keep_seen=False)


def test_two_budgets_are_refused(file: Path) -> None:
    done = CliRunner().invoke(
        app, ["tune", "--events", str(file), "--trials", "3", "--minutes", "1", "--report", "tuned.json"]
    )
    assert done.exit_code == 2
    assert "two budgets" in done.output
