"""The keys' file: hashed, its owner's alone, and refused where somebody could have tampered with it."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.keys import Keys, KeysError, Right

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def test_a_key_is_found_by_itself_alone() -> None:
    keys, web = Keys().add("web", [Right.RECOMMEND, Right.EVENTS], "100/second", NOW)
    keys, app = keys.add("app", [Right.EVENTS], None, NOW)
    found = keys.find(web)
    assert found
    assert (found.name, found.rights, found.rate) == ("web", (Right.RECOMMEND, Right.EVENTS), "100/second")
    assert keys.find(app) != found
    for wrong in ("", web[:-1], web + "x", found.sha256, "\ud800", "ключ"):
        assert keys.find(wrong) is None
    assert keys.remove("web").find(web) is None


def test_the_file_holds_no_key_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "home" / "keys.json"
    keys, secret = Keys().add("web", [Right.ADMIN], None, NOW)
    keys.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in file.read_text()
    assert Keys.load(file) == keys
    assert Keys.load(tmp_path / "nowhere.json") == Keys()


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    Keys().save(file)
    file.chmod(0o620)
    with pytest.raises(KeysError, match="chmod 600"):
        Keys.load(file)


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{"name": "web"}]}', '{"keys": [], "more": 1}'])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(KeysError, match="cannot be read"):
        Keys.load(file)


@pytest.mark.parametrize(
    ("name", "rights", "rate", "says"),
    [
        ("", [Right.EVENTS], None, "name"),
        ("a b", [Right.EVENTS], None, "name"),
        ("web", [], None, "rights"),
        ("web", [Right.EVENTS], "often", "no rate"),
        ("there", [Right.EVENTS], None, "already"),
    ],
)
def test_what_cannot_be_added(name: str, rights: list[Right], rate: str | None, says: str) -> None:
    keys, _ = Keys().add("there", [Right.EVENTS], None, NOW)
    with pytest.raises(KeysError, match=says):
        keys.add(name, rights, rate, NOW)


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(KeysError, match="kairos keys list"):
        Keys().remove("web")
