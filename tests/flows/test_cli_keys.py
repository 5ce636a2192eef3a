"""`kairos keys`, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from infra.keys import Keys, KeysError, Right
from infra.settings import Settings


@pytest.fixture(autouse=True)
def home(process_home: Settings) -> Path:
    process_home.home.mkdir()
    return process_home.home


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_a_key_is_shown_once_and_works(home: Path) -> None:
    secret = keys("add", "web", "--rights", "events, recommend", "--rate", "100/second").stdout.strip()
    found = Keys.load(home / "keys.json").find(secret)
    assert found
    assert set(found.rights) == {Right.EVENTS, Right.RECOMMEND}
    listed = keys("list").stdout
    assert "web" in listed
    assert "100/second" in listed
    assert secret not in listed


def test_the_last_key_closes_the_door(home: Path) -> None:
    keys("add", "web", "--rights", "events")
    assert str(home / "keys.json") in keys("remove", "web").output.replace("\n", "")
    assert Keys.load(home / "keys.json").keys == ()


def test_mistakes_are_named() -> None:
    assert isinstance(keys("remove", "nobody").exception, KeysError)
    wrong = keys("add", "web", "--rights", "everything").exception
    assert "expected some of events, recommend, admin" in str(wrong)
