"""Settings: environment over profile over defaults, and errors that name the variable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import PROFILES, Settings, SettingsError, settings


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
    with pytest.raises(SettingsError, match=r"KAIROS_REDIS_URL is not set.*redis://"):
        settings()


def test_an_event_log_in_redis_needs_its_address_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_EVENT_STREAM", "redis")
    with pytest.raises(SettingsError, match=r"KAIROS_REDIS_URL is not set.*the Redis of the event log"):
        settings()


def test_production_names_both_connections_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_PROFILE", "production")
    with pytest.raises(SettingsError, match=r"KAIROS_REDIS_URL is not set.*KAIROS_REDIS_URL=redis://"):
        settings()
    monkeypatch.setenv("KAIROS_REDIS_URL", "localhost:6379")
    with pytest.raises(SettingsError, match=r"KAIROS_REGISTRY is not set.*KAIROS_REGISTRY=postgresql"):
        settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KAIROS_REDIS_URL", "http://:secret@localhost"), ("KAIROS_REGISTRY", "mysql://kairos:secret@localhost/kairos")],
)
def test_a_server_of_another_kind_is_refused_without_its_password(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIROS_PROFILE", "production")
    monkeypatch.setenv("KAIROS_REDIS_URL", "localhost:6379")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as refused:
        settings()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_form_of_the_registrys_url_uses_the_driver_that_is_there(scheme: str) -> None:
    assert Settings(registry=f"{scheme}://host/db").registry_url == "postgresql+psycopg://host/db"
    assert Settings(registry="/srv/registry.db").registry_url is None


@pytest.mark.parametrize("profile", [path.stem for path in PROFILES.glob("*.toml")])
def test_every_profile_loads(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_PROFILE", profile)
    monkeypatch.setenv("KAIROS_REDIS_URL", "localhost:6379")
    monkeypatch.setenv("KAIROS_REGISTRY", "postgresql://localhost/kairos")
    assert settings().profile == profile


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_CORS_ORIGINS", "https://shop.example/, http://localhost:8080")
    assert settings().cors_origins == ("https://shop.example", "http://localhost:8080")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KAIROS_CORS_ORIGINS", "*"), ("KAIROS_CORS_ORIGINS", "https://a.example/path"), ("KAIROS_RATE_LIMIT", "often")],
)
def test_an_origin_or_a_rate_that_is_none(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        settings()
