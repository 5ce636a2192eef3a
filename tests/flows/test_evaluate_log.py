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
from flows.leaderboard_page import write_page
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


def test_tells_how_far_each_is_behind_the_best_and_in_which_segment(file: Path, config: Settings) -> None:
    found = evaluate_log(config, "csv", {"path": str(file)}, "leave-one-out", keep_seen=True)
    best = max(found.models, key=lambda name: found.models[name]["ndcg@10"]["value"])
    assert set(found.against_best) == set(found.models) - {best}
    for name, figures in found.against_best.items():
        behind = found.models[name]["ndcg@10"]["value"] - found.models[best]["ndcg@10"]["value"]
        assert figures["value"] == pytest.approx(behind)
        assert figures["p_holm"] >= figures["p"]
    # What a user had lately is never the answer here: every user's items are all different.
    assert found.against_best["own"]["p_holm"] < 0.05
    assert all(set(segments) == set(found.cuts) for segments in found.segments.values())
    assert found.cuts["regular users"] == f"{USERS}: 5 to 20 events"
    regular = found.segments["neighbours"]["regular users"]["ndcg@10"]["value"]
    assert regular == pytest.approx(found.models["neighbours"]["ndcg@10"]["value"])


def test_ratings_are_foretold_where_there_are_some(file: Path, tmp_path: Path, config: Settings) -> None:
    rng = np.random.default_rng(3)
    rated = pd.read_csv(file).rename(columns={"behavior": "event_type"})
    rated["event_type"] = "rating"
    rated["event_id"] = [f"e{n}" for n in range(len(rated))]
    # In each group half of the users like what the other half do not: the means say nothing.
    number, kind = rated["user_id"].str[1:].astype(int), rated["item_id"].str[1:].astype(int)
    liked = np.where((number // GROUPS + kind // GROUPS) % 2, 4.5, 1.5)
    rated["value"] = liked + rng.normal(0.0, 0.1, len(rated))
    with_values = tmp_path / "rated.csv"
    rated.to_csv(with_values, index=False)
    found = evaluate_log(config, "csv", {"path": str(with_values)}, "leave-one-out", model="popularity")
    assert set(found.ratings) == {"biases", "biases and svd"}
    for figures in found.ratings.values():
        assert figures["mae"]["value"] <= figures["rmse"]["value"]
    assert found.ratings["biases and svd"]["rmse"]["value"] < found.ratings["biases"]["rmse"]["value"]
    late = evaluate_log(config, "csv", {"path": str(with_values)}, "temporal:2024-03-07", model="popularity")
    assert late.ratings["biases"]["rmse"]["value"] > 1.0
    without = evaluate_log(config, "csv", {"path": str(file)}, "leave-one-out", model="popularity")
    assert not without.ratings
    page = tmp_path / "page.html"
    for evaluation, shown in ((found, True), (without, False)):
        write_page(page, "Ratings", evaluation)
        assert ("<th>RMSE</th>" in page.read_text()) is shown


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
        assert text.count("<circle") == 1
        assert "<h2>NDCG@10 by segment</h2>" in text
        assert f"regular users ({USERS}: 5 to 20 events)" in text


def test_a_report_of_another_kind_is_refused(file: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "--events", str(file), "--report", "report.pdf"])
    assert done.exit_code == 2
    assert "a .json or .html" in done.output
