"""What the doctor finds in a sound installation, and in ones with one thing wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import cli
from flows.doctor import Diagnosis, diagnose
from flows.pipeline import PipelineReport
from infra.settings import Settings


def told(found: list[Diagnosis], part: str) -> list[Diagnosis]:
    return [each for each in found if each.part == part]


def errors(found: list[Diagnosis]) -> dict[str, str]:
    return {each.part: each.said for each in found if each.verdict == "error"}


def test_a_sound_installation_has_no_error(pipeline: PipelineReport, slice_home: Settings) -> None:
    found = diagnose(slice_home)
    assert errors(found) == {}
    assert {each.part for each in found} == {
        "libraries", "home", "data", "features", "online store", "event log", "model", "service", "schedules",
    }  # fmt: skip
    [service] = told(found, "service")
    assert (service.verdict, service.todo) == ("warning", "kairos serve, or kairos up")
    assert all(each.todo for each in found if each.verdict != "ok")


def test_no_home_says_what_to_begin_with_and_none_is_made(tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "new")
    found = diagnose(config)
    assert set(errors(found)) == {"home", "data", "model"}
    [data] = told(found, "data")
    assert "kairos ingest" in data.todo
    assert not config.home.exists()


@pytest.fixture
def copy(pipeline: PipelineReport, slice_home: Settings, tmp_path: Path) -> Settings:
    """The installation once more, to break."""
    home = tmp_path / "home"
    shutil.copytree(slice_home.home, home, ignore=shutil.ignore_patterns("bentoml", "runs", "gx", "platform"))
    return slice_home.model_copy(update={"home": home})


def test_looking_makes_nothing(copy: Settings) -> None:
    copy.event_log.unlink(missing_ok=True)
    before = set(copy.home.rglob("*"))
    [log] = told(diagnose(copy), "event log")
    assert (log.verdict, log.said) == ("ok", "none yet: the service makes it")
    assert set(copy.home.rglob("*")) <= before  # what SQLite keeps beside an open file goes when it is closed


def test_each_thing_that_is_wrong_is_named(copy: Settings) -> None:
    copy.keys_file.write_text("{}")
    copy.keys_file.chmod(0o644)
    shutil.rmtree(copy.feast)
    for snapshot in (copy.features / "user_activity").glob("*.parquet"):
        snapshot.unlink()
    found = diagnose(copy)
    assert "can be read by others" in errors(found)["home"]
    assert any("snapshots are missing" in each.said for each in told(found, "features"))
    assert any("feature files and registry differ" in each.said for each in told(found, "features"))
    assert "the registry lacks what the model reads" in errors(found)["online store"]


def test_a_champion_that_did_not_learn_the_newest_days_is_named(copy: Settings) -> None:
    assert [each.verdict for each in told(diagnose(copy), "model")] == ["ok"]
    copy.champion.write_text(json.dumps({**json.loads(copy.champion.read_text()), "caught_up": None}))
    [_, behind] = told(diagnose(copy), "model")
    assert (behind.verdict, behind.said) == ("warning", "what answers knows nothing of the newest 31 days")
    assert behind.todo.startswith("kairos catch-up")


def test_a_damaged_pointer_is_named(copy: Settings) -> None:
    copy.champion.write_text("{")
    assert f"{copy.champion} is damaged" in errors(diagnose(copy))["model"]


def test_a_model_that_is_gone_from_the_store_is_an_error(copy: Settings) -> None:
    copy.champion.write_text(json.dumps({"tag": "kairos:gone", "since": "2026-01-01T00:00:00+00:00"}))
    assert "kairos:gone is not in BentoML's store" in errors(diagnose(copy))["model"]


def test_the_command_ends_with_1_where_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.settings", lambda: Settings(home=tmp_path / "new"))
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "no events" in result.output
