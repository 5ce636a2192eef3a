"""Who went back to an earlier champion, and who decides where nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import cli
from flows.decisions import Decision, decisions, record
from flows.operator import operator
from flows.present import console
from flows.rollbacks import Rollback, rollbacks
from infra.settings import Settings
from models import registry
from models.registry import NoEarlierChampionError

OLD, NEW = "kairos:old", "kairos:new"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation whose newest model took the place of another and was then refused by the gate."""
    config = Settings(home=tmp_path, operator="ada")
    monkeypatch.setattr("flows.cli_gate.settings", lambda: config)
    monkeypatch.setattr("models.registry.bundle_path", Path)  # the models themselves are not looked at
    monkeypatch.setattr(console, "width", 200)
    registry.crown(config.champion, OLD)
    registry.crown(config.champion, NEW)
    record(config, Decision(NEW, OLD, False, False, (), at="2024-05-04T00:00:00+00:00"))
    return config


def kairos(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_rollback_is_shown_with_who_and_why(config: Settings) -> None:
    kairos("rollback", "--because", "clicks fell", "--by", "grace")
    [kept] = rollbacks(config)
    assert kept == Rollback(OLD, NEW, "grace", "clicks fell", registry.champion(config.champion).since)
    shown = kairos("decisions").splitlines()
    [line] = [n for n, each in enumerate(shown) if "rolled back to by grace" in each]
    assert "clicks fell" in shown[line]
    [refused] = [n for n, each in enumerate(shown) if "refused" in each]
    assert line < refused  # newest first


def test_a_rollback_decides_nothing_of_a_model(config: Settings) -> None:
    before = decisions(config)
    kairos("rollback")
    assert decisions(config) == before
    [kept] = rollbacks(config)
    assert (kept.by, kept.because) == ("ada", "")


def test_what_did_not_happen_is_not_kept(config: Settings) -> None:
    with pytest.raises(NoEarlierChampionError):
        kairos("rollback", "--to", "kairos:unheardof")
    assert rollbacks(config) == []


def test_who_decides_is_said_or_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 10002")

    assert operator(Settings(operator="ada")) == "ada"
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert operator(Settings()) == "grace"
    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 10_002)
    assert operator(Settings()) == "10002"
