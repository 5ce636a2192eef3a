"""Models compared on anybody's events, from the command line's code down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.errors import SplitError
from flows.evaluate_log import evaluate_log
from infra.settings import Settings
from models.errors import TableError

USERS, ITEMS, GROUPS = 60, 40, 4


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who keep to a group of items, and so say something about one another."""
    rng = np.random.default_rng(2)
    rows = [
        {
            "user_id": f"u{user}",
            "item_id": f"i{item}",
            "behavior": "purchase",
            "timestamp": f"2024-03-{day:02d}T12:00:00Z",
        }
        for user in range(USERS)
        for day, item in enumerate(
            rng.choice(np.arange(user % GROUPS, ITEMS, GROUPS), 8, replace=False).tolist(), start=1
        )
    ]
    path = tmp_path_factory.mktemp("log") / "events.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.mark.parametrize("split", ["leave-one-out", "temporal:2024-03-07"])
def test_finds_the_groups_and_says_what_it_was_asked(split: str, file: Path, config: Settings) -> None:
    found = evaluate_log(config, "csv", {"path": str(file)}, split, model="neighbours")
    popular = evaluate_log(config, "csv", {"path": str(file)}, split, model="popularity")
    ndcg = found.models["neighbours"]["ndcg@10"]
    assert ndcg["low"] <= ndcg["value"] <= ndcg["high"]
    assert ndcg["value"] > 1.5 * popular.models["popularity"]["ndcg@10"]["value"]
    assert (found.about["users_asked"], found.about["items"], found.about["events"]) == (USERS, ITEMS, USERS * 8)
    assert not config.home.exists()


def test_the_hybrid_stands_beside_its_sources(file: Path, config: Settings) -> None:
    found = evaluate_log(config, "csv", {"path": str(file)}, "leave-one-out")
    assert {"hybrid", "popularity", "als", "linear", "graph_filter", "sequence", "user_neighbours"} <= set(found.models)
    best = max(figures["ndcg@10"]["value"] for name, figures in found.models.items() if name != "hybrid")
    assert found.models["hybrid"]["ndcg@10"]["value"] > 0.8 * best


@pytest.mark.parametrize(
    ("split", "model", "wrong"),
    [
        ("random", "hybrid", "expected leave-one-out or temporal:DATE"),
        ("temporal:soon", "hybrid", "'soon' is no date"),
        ("leave-one-out", "magic", "expected hybrid or one of"),
        ("leave-one-out", "own", "add --keep-seen"),
        ("leave-one-out", "content", "add --items"),
    ],
)
def test_a_wrong_question_is_told_before_anything_is_read(split: str, model: str, wrong: str, config: Settings) -> None:
    with pytest.raises(SplitError, match=wrong):
        evaluate_log(config, "csv", {"path": "missing.csv"}, split, model=model)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that says of each item which group it is of."""
    path = tmp_path_factory.mktemp("items") / "items.csv"
    rows = [{"item_id": f"i{item}", "category": f"c{item % GROUPS}", "brand": "one"} for item in range(ITEMS)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_table_of_items_is_read_by_the_content_source(file: Path, items: Path, config: Settings) -> None:
    options = {"path": str(file), "items": str(items)}
    found = evaluate_log(config, "csv", options, "leave-one-out", model="content").models["content"]
    # The answer is one of three items of the group that the user has not had.
    assert found["hr@10"]["value"] == 1.0
    assert found["ndcg@10"]["value"] > 0.5


def test_a_table_of_items_that_tells_nothing_apart_is_told(file: Path, tmp_path: Path, config: Settings) -> None:
    table = tmp_path / "items.csv"
    pd.DataFrame([{"item_id": f"i{item}", "brand": "one"} for item in range(ITEMS)]).to_csv(table, index=False)
    options = {"path": str(file), "items": str(table)}
    with pytest.raises(TableError, match="tells the 40 items with attributes apart"):
        evaluate_log(config, "csv", options, "leave-one-out", model="content")
    found = evaluate_log(config, "csv", options, "leave-one-out", model="popularity")
    assert "apart" in found.left_out["content"]


def test_without_anything_to_fit_its_weights_on_the_hybrid_takes_no_part(tmp_path: Path, config: Settings) -> None:
    rows = [(f"u{user}", f"i{(user + n) % 7}", f"2024-03-0{day}") for user in range(9) for n, day in enumerate((1, 9))]
    file = tmp_path / "events.csv"
    pd.DataFrame(
        [{"user_id": u, "item_id": i, "behavior": "click", "timestamp": f"{day}T12:00:00Z"} for u, i, day in rows]
    ).to_csv(file, index=False)
    found = evaluate_log(config, "csv", {"path": str(file)}, "temporal:2024-03-05")
    assert "popularity" in found.models
    assert "weights" in found.left_out["hybrid"]


def test_a_benchmark_that_is_none_is_told_with_those_there_are(capfd: pytest.CaptureFixture[str]) -> None:
    done = CliRunner().invoke(app, ["benchmark", "nosuch"])
    assert done.exit_code == 2
    assert "no such figure: nosuch; there are beauty" in capfd.readouterr().err


def test_options_for_a_file_want_a_file() -> None:
    done = CliRunner().invoke(app, ["evaluate", "--keep-seen"])
    assert done.exit_code == 2
    assert "add --events" in " ".join(done.output.split())


@pytest.mark.parametrize("suffix", ["json", "html"])
def test_the_command_writes_the_report(
    suffix: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path / "home"))
    report = tmp_path / f"report.{suffix}"
    arguments = ["evaluate", "--events", str(file), "--model", "popularity", "--report", str(report)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "popularity" in done.output
    text = report.read_text()
    if suffix == "json":
        assert json.loads(text)["models"]["popularity"]["auc"]["value"] > 0
    else:
        assert "<td>popularity</td>" in text
        assert "http" not in text  # whole in one file


def test_a_report_of_another_kind_is_refused(file: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "--events", str(file), "--report", "report.pdf"])
    assert done.exit_code == 2
    assert "a .json or .html" in done.output
