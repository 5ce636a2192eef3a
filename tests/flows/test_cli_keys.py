"""`kairos keys`, as it is typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from infra.keys import Keys, KeysError, Right
from infra.settings import settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


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
