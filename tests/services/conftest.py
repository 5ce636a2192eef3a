"""A small shop with everything real: a lake, a Feast store, a trained bundle, and the service over HTTP."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from feature_repo import schema as s
from feature_repo.file_lock import file_lock
from feature_repo.refresh import TURN
from feature_repo.store import Features
from infra.settings import PROJECT_ROOT, Settings
from models import bundle, registry
from models.list_builder import Snapshot
from models.sources.encoder import SequenceConfig
from models.state import UserState
from models.training import TrainingConfig, train

NOW = datetime(2024, 5, 1, tzinfo=UTC)
"""The end of the shop's data, where the service's clock starts."""
CATEGORIES = ("bread", "milk", "fruit", "games")
USERS, ITEMS = 40, 48


@contextmanager
def broken_store(settings: Settings) -> Iterator[None]:
    """The online store has lost its tables while this is open: every read and every write of it fails."""

    def rename(prefix: str, to: str) -> None:
        with closing(sqlite3.connect(settings.feast / "online.db", timeout=30)) as database, database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                if table.startswith(prefix):
                    database.execute(f'ALTER TABLE "{table}" RENAME TO "{to}{table.removeprefix(prefix)}"')

    rename(settings.project, f"lost_{settings.project}")
    try:
        yield
    finally:
        rename(f"lost_{settings.project}", settings.project)


def _events() -> pa.Table:
    """Purchases over 60 days; every user keeps to two categories."""
    rng = np.random.default_rng(7)
    rows = []
    for n in range(2_400):
        user = int(rng.integers(USERS))
        category = (user + int(rng.integers(2))) % len(CATEGORIES)
        item = category + len(CATEGORIES) * min(int(rng.exponential(3.0)), ITEMS // len(CATEGORIES) - 1)
        row = {
            s.EVENT_ID: f"e{n}",
            s.USER_ID: f"u{user}",
            s.ITEM_ID: f"i{item}",
            s.EVENT_TYPE: s.PURCHASE,
            s.TIMESTAMP: NOW - timedelta(minutes=int(rng.integers(1, 60 * 24 * 60))),
            s.QUANTITY: 1.0,
            s.PRICE: 1.0 + item % 7,
            s.VALUE: 1.0 + item % 7,
        }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=s.EVENTS)


def _items() -> pa.Table:
    rows = [
        {
            s.ITEM_ID: f"i{n}",
            s.NAME: f"Item {n}",
            s.CATEGORY: CATEGORIES[n % len(CATEGORIES)],
            s.TIMESTAMP: NOW - timedelta(days=90),
        }
        for n in range(ITEMS)
    ]
    return pa.Table.from_pylist(rows, schema=s.ITEMS)


@dataclass(frozen=True)
class Shop:
    """A home with a materialised store and two published bundles, the first one the champion."""

    settings: Settings
    tags: tuple[str, str]

    def copy(self, home: Path) -> Shop:
        """The same shop elsewhere, to be broken."""
        shutil.copytree(self.settings.home, home)
        return replace(self, settings=self.settings.model_copy(update={"home": home}))

    def folder(self, tag: str) -> Path:
        return self.settings.bentoml_home / "models" / tag.replace(":", "/")


@contextmanager
def store_of(config: Settings) -> Iterator[None]:
    """The shop's models are those of this process while this is open: BentoML has one store per process."""
    folder = config.bentoml_home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    BentoMLContainer.model_store.set(ModelStore(folder))
    try:
        yield
    finally:
        BentoMLContainer.model_store.reset()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(Settings(home=tmp_path_factory.mktemp("shop"), clock_start=NOW))


def open_shop(config: Settings) -> Shop:
    """Fill the lake, compute and register what feature files there are, train on it and publish."""
    (config.lake / "events").mkdir(parents=True)
    events = _events()
    pq.write_table(events, config.lake / "events" / "0.parquet")
    pq.write_table(_items(), config.lake / "items.parquet")
    features = Features.open(config)
    cut = NOW - timedelta(days=20)
    features.compute([cut, NOW])
    features.apply()
    features.materialize(NOW)

    users, items = [f"u{n}" for n in range(USERS)], [f"i{n}" for n in range(ITEMS)]
    rows = features.users_at(users, cut).to_dict("index")
    states = [UserState.from_row(user, rows[user], cut.timestamp()) for user in users]
    recommender = train(
        events,
        [Snapshot(cut.timestamp(), states, features.items_at(items, cut).reset_index())],
        features.items_at(items, NOW).reset_index(),
        final_cut=NOW.timestamp(),
        config=replace(TrainingConfig(), sequence=replace(SequenceConfig(), dim=16, layers=1, negatives=32)),
        run_dir=config.runs,
    )
    folder = bundle.save(recommender, config.bundles / "first", features=features.feature_names())
    with store_of(config):
        tags = registry.publish(folder, {}), registry.publish(folder, {})
        registry.crown(config.champion, tags[0])
    return Shop(config, tags)


def crown(config: Settings, tag: str) -> None:
    with store_of(config):
        registry.crown(config.champion, tag)


@dataclass(frozen=True)
class Running:
    """The service over HTTP, and its log so far."""

    client: httpx.Client
    shop: Shop
    log: Callable[[], str]
    process: subprocess.Popen[bytes]
    """Starts the service's workers, which start theirs."""

    def processes(self) -> list[psutil.Process]:
        """All that the service consists of. The workers lead groups of their own."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def kill(self) -> None:
        """End all of it at once, as a machine does that loses its power."""
        killed = self.processes()
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(killed, 30)

    def until_known(self) -> None:
        """Wait for the applier, which is ready some seconds after the service."""
        seen = {"user_id": "nobody", "item_id": "i1", "event_type": "impression"}
        deadline = time.monotonic() + 60
        while not self.client.post("/events", json=seen).json()["features_updated"]:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)


@contextmanager
def serving(
    shop: Shop,
    logs: Path,
    until: str = "/readyz",
    more: Mapping[str, str] = MappingProxyType({}),
    *,
    refreshing: bool = False,
) -> Iterator[Running]:
    """The service as its own process; `more` are further environment variables.

    Args:
        refreshing: it refreshes the item features, which takes a process of its own; else the test has that turn.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "KAIROS_HOME": str(shop.settings.home),
        "BENTOML_HOME": str(shop.settings.bentoml_home),
        "KAIROS_CLOCK_START": NOW.isoformat(),
        "KAIROS_RANK_WITHIN_S": "10",  # a busy machine is no lower rung
        "KAIROS_FEATURES_WITHIN_MS": "5000",
        **more,
    }
    command = ["-m", "bentoml", "serve", "services.service:Kairos", "--host", "127.0.0.1", "--port", str(port)]
    turn = nullcontext() if refreshing else file_lock(shop.settings.home / TURN, "the test's refresh")
    with turn, logs.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                _wait_for(until, client, process, logs)
                yield Running(client, shop, logs.read_text, process)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(path: str, client: httpx.Client, process: subprocess.Popen[bytes], logs: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, logs.read_text()
        try:
            if client.get(path).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready: {logs.read_text()}")


@pytest.fixture(scope="session")
def running(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    with serving(shop.copy(folder / "home"), folder / "log", refreshing=True) as service:
        service.until_known()
        yield service
