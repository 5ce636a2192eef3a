"""The online features as the service uses them, on a Redis that hangs and comes back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen

import pyarrow.parquet as pq
import pytest

from feature_repo.event import Event, to_arrow
from feature_repo.store import Features
from infra.settings import Settings
from services.errors import StoreDownError
from services.online import REST_S, OnlineFeatures
from tests.feature_repo.servers import own_redis

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)
NAMES = ["user_activity:purchases_7d"]
EVENT = Event(event_id="1", user_id="ann", item_id="a", event_type="purchase", timestamp=NOW)


@contextmanager
def small_shop(home: Path) -> Iterator[tuple[Settings, Popen[bytes]]]:
    """One user who bought one item, online in a Redis of the test's own."""
    with own_redis(home) as server:
        config = Settings(home=home, online_store="redis", redis_url=f"redis://127.0.0.1:{server.args[-1]}")
        (config.lake / "events").mkdir(parents=True)
        pq.write_table(to_arrow([EVENT]), config.lake / "events" / "0.parquet")
        features = Features.open(config)
        features.compute([NOW])
        features.apply()
        features.materialize(NOW)
        yield config, server


async def test_reads_go_on_after_an_outage(tmp_path: Path) -> None:
    with small_shop(tmp_path) as (config, server):
        online = OnlineFeatures(config)
        await online.open()
        assert (await online.row("ann", NAMES, NOW, within_s=5)).values["purchases_7d"] == 1

        server.send_signal(signal.SIGSTOP)
        for _ in range(2):  # the second one does not even ask
            with pytest.raises(StoreDownError):
                await online.row("ann", NAMES, NOW, within_s=5)
        assert not online.is_up

        server.send_signal(signal.SIGCONT)
        await asyncio.sleep(REST_S)
        assert (await online.row("ann", NAMES, NOW, within_s=5)).values["purchases_7d"] == 1
        assert online.is_up
        await online.close()


async def test_the_service_opens_while_redis_is_away_and_finds_it_later(tmp_path: Path) -> None:
    with own_redis(tmp_path) as server:
        config = Settings(home=tmp_path, online_store="redis", redis_url=f"redis://127.0.0.1:{server.args[-1]}")
        (config.lake / "events").mkdir(parents=True)
        pq.write_table(to_arrow([EVENT]), config.lake / "events" / "0.parquet")
        Features.open(config).apply()
        server.send_signal(signal.SIGSTOP)
        online = OnlineFeatures(config)
        await online.open()
        with pytest.raises(StoreDownError):
            await online.row("ann", NAMES, NOW, within_s=5)
        server.send_signal(signal.SIGCONT)
        await asyncio.sleep(REST_S)
        assert (await online.row("ann", NAMES, NOW, within_s=5)).values["purchases_7d"] is None
        await online.close()


async def test_a_store_that_hangs_holds_a_request_up_for_the_budget_only(tmp_path: Path) -> None:
    with small_shop(tmp_path) as (config, server):
        online = OnlineFeatures(config.model_copy(update={"features_within_ms": 50}))
        await online.open()
        await online.row("ann", NAMES, NOW, within_s=5)
        server.send_signal(signal.SIGSTOP)
        began = time.perf_counter()
        with pytest.raises(StoreDownError):
            await online.row("ann", NAMES, NOW)
        assert time.perf_counter() - began < 0.25
        server.send_signal(signal.SIGCONT)
        await asyncio.sleep(REST_S)
        # The answer that came too late is nobody else's.
        assert (await online.row("nobody", NAMES, NOW, within_s=5)).values["purchases_7d"] is None
        assert (await online.row("ann", NAMES, NOW, within_s=5)).values["purchases_7d"] == 1
        await online.close()


async def test_opening_goes_on_when_the_request_that_asked_for_it_is_gone(tmp_path: Path) -> None:
    with small_shop(tmp_path) as (config, _):
        online = OnlineFeatures(config.model_copy(update={"features_within_ms": 0.01}))
        with pytest.raises(StoreDownError):
            await online.row("ann", NAMES, NOW)
        await asyncio.sleep(REST_S)
        assert (await online.row("ann", NAMES, NOW, within_s=5)).values["purchases_7d"] == 1
        await online.close()
