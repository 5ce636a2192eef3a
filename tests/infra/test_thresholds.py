"""The limits are one file, and an installation's own file wins over it value by value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.settings import Settings, SettingsError
from infra.thresholds import FILE, Thresholds, thresholds


def own(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "own.toml"
    file.write_text(text)
    return Settings(thresholds=file)


def test_what_is_shipped_is_whole() -> None:
    found = thresholds(Settings()).model_dump()
    assert {name: set(table) for name, table in found.items()} == {
        name: set(field.annotation.model_fields)  # type: ignore[union-attr]
        for name, field in Thresholds.model_fields.items()
    }


def test_every_limit_says_why() -> None:
    values = [line for line in FILE.read_text().splitlines() if re.match(r"\w+ = ", line)]
    assert len(values) > 30
    unexplained = {line.split()[0] for line in values if "#" not in line}
    assert unexplained <= {"users", "least_users", "days", "before_days", "least_impressions", "new_users", "new_items"}


def test_ones_own_value_wins_and_the_others_stay(tmp_path: Path) -> None:
    shipped, found = thresholds(Settings()), thresholds(own(tmp_path, "[data]\nvolume = 4\n"))
    assert found.data.volume == 4.0
    assert found.data.model_copy(update={"volume": shipped.data.volume}) == shipped.data
    assert found.freshness == shipped.freshness


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data]\nvolumes = 4\n", r"own.toml: data.volumes: Extra inputs"),
        ("[data]\nvolume = 0.5\n", r"data.volume: Input should be greater than 1"),
        ("[weather]\nrain = 1\n", r"weather: Extra inputs"),
        ("data = 3\n", r"KAIROS_THRESHOLDS=.*own.toml"),
        ("[data\n", r"KAIROS_THRESHOLDS=.*own.toml"),
    ],
)
def test_what_is_no_limit_is_told(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        thresholds(own(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"KAIROS_THRESHOLDS=.*nothing.toml"):
        thresholds(Settings(thresholds=tmp_path / "nothing.toml"))
