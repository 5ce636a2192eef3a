"""Redis or PostgreSQL that is away, hangs or refuses: one clear error, with the address and without the password."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from feature_repo.errors import OnlineStoreDownError, RegistryDownError
from feature_repo.store import Features
from infra.ports import free_port
from infra.settings import Settings
from tests.feature_repo.conftest import FillLake, event
from tests.feature_repo.servers import own_redis

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)
NAMES = ["user_activity:purchases_7d"]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with own_redis(tmp_path) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, redis_server: subprocess.Popen[bytes]) -> Settings:
    port = redis_server.args[-1]
    return Settings(
        home=tmp_path / "home", online_store="redis", redis_url=f"redis://:secret@127.0.0.1:{port}", redis_timeout_s=0.2
    )


@pytest.fixture
def live(fill: FillLake, catalogue: None, config: Settings) -> Features:
    fill([event("ann", "a", NOW)])
    features = Features.open(config)
    with Redis(port=int(str(config.redis_url).rpartition(":")[2])) as client:
        client.config_set("requirepass", "secret")
    features.compute([NOW])
    features.apply()
    features.materialize(NOW)
    assert features.online_user("ann", NAMES, NOW)["purchases_7d"] == 1
    return features


async def read_both_ways(features: Features) -> list[OnlineStoreDownError]:
    with pytest.raises(OnlineStoreDownError) as blocking:
        features.online_user("ann", NAMES, NOW)
    with pytest.raises(OnlineStoreDownError) as awaited:
        await features.online_row_async("ann", NAMES, NOW)
    return [blocking.value, awaited.value]


def check(message: str, config: Settings) -> None:
    assert str(config.redis_url).rpartition("@")[2] in message
    assert "KAIROS_REDIS_URL" in message
    assert "secret" not in message


async def test_redis_that_is_gone(live: Features, config: Settings, redis_server: subprocess.Popen[bytes]) -> None:
    redis_server.kill()
    redis_server.wait()
    for error in await read_both_ways(live):
        check(str(error), config)
    with pytest.raises(OnlineStoreDownError):
        live.materialize(NOW)
    with pytest.raises(OnlineStoreDownError):
        live.apply()


async def test_redis_that_hangs_and_comes_back(
    live: Features, config: Settings, redis_server: subprocess.Popen[bytes]
) -> None:
    await live.feast.initialize()
    redis_server.send_signal(signal.SIGSTOP)
    for error in await read_both_ways(live):
        check(str(error), config)
    redis_server.send_signal(signal.SIGCONT)
    assert live.online_user("ann", NAMES, NOW)["purchases_7d"] == 1
    assert (await live.online_row_async("ann", NAMES, NOW)).values["purchases_7d"] == 1
    await live.feast.close()


def test_redis_that_was_restarted_knows_the_script_again(live: Features, config: Settings) -> None:
    """After a restart or a fail-over the server has forgotten every script."""
    with Redis.from_url(str(config.redis_url)) as client:
        client.script_flush()
        client.flushall()
    live.materialize(NOW)
    assert live.online_user("ann", NAMES, NOW)["purchases_7d"] == 1


def test_redis_with_another_password(live: Features, config: Settings) -> None:
    wrong = config.model_copy(update={"redis_url": str(config.redis_url).replace("secret", "hush")})
    with pytest.raises(OnlineStoreDownError) as refused:
        Features.open(wrong).online_user("ann", NAMES, NOW)
    assert "hush" not in str(refused.value)


def test_an_online_store_that_is_away_leaves_the_registry_as_it_was(fill: FillLake, tmp_path: Path) -> None:
    fill([event("ann", "a", NOW)])
    away = Settings(home=tmp_path / "home", online_store="redis", redis_url=f"127.0.0.1:{free_port()},password=secret")
    features = Features.open(away)
    with pytest.raises(OnlineStoreDownError) as refused:
        features.apply()
    check(str(refused.value), away.model_copy(update={"redis_url": str(away.redis_url).split(",")[0]}))
    assert Features.open(away).feast.list_feature_views() == []


def test_a_registry_that_is_away(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(home=tmp_path, registry=f"postgresql://kairos:secret@127.0.0.1:{port}/kairos")
    with pytest.raises(RegistryDownError) as refused:
        Features.open(settings)
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert "KAIROS_REGISTRY" in str(refused.value)
    assert "secret" not in str(refused.value)
