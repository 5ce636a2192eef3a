"""Settings: environment over profile over defaults, and errors that name the variable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import PROFILES, SettingsError, settings


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path))
    monkeypatch.setenv("KAIROS_HOLDOUT_DAYS", "14")
    assert settings().home == tmp_path
    assert settings().holdout_days == 14


def test_a_wrong_value_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_PORT", "eighty")
    with pytest.raises(SettingsError, match="KAIROS_PORT='eighty'"):
        settings()


def test_an_unknown_profile_names_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_PROFILE", "moon")
    with pytest.raises(SettingsError, match="local"):
        settings()


def test_redis_without_its_address_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_ONLINE_STORE", "redis")
    with pytest.raises(SettingsError, match="KAIROS_REDIS_URL"):
        settings()


@pytest.mark.parametrize("profile", [path.stem for path in PROFILES.glob("*.toml")])
def test_every_profile_loads(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_PROFILE", profile)
    monkeypatch.setenv("KAIROS_REDIS_URL", "localhost:6379")
    assert settings().profile == profile
