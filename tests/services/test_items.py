"""The item table in service: refreshed by a process of its own, followed by version, given to the model whole."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from feature_repo.clock import Clock
from feature_repo.event import Event
from feature_repo.event_log import open_event_log
from feature_repo.packed import PackedItems
from feature_repo.packed_files import PackedFiles
from feature_repo.packed_source import pack
from feature_repo.store import Features
from models import registry
from models.items import ItemNames, ItemTable
from services.champion import ChampionWatch
from services.items import ItemWatch
from services.metrics import FAILURES, REFRESHES
from services.refresh import ItemRefresh

from .conftest import ITEMS, NOW, Running, Shop


@pytest.fixture
def table(shop: Shop) -> PackedItems:
    """The items as of the end of the shop's data."""
    return pack(Features.open(shop.settings), NOW)


@pytest.fixture
def pointer(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The champion pointer, and a store of one bundle: BentoML has one store per process."""
    monkeypatch.setattr(registry, "bundle_path", shop.folder)
    file = tmp_path / "champion.json"
    file.write_text(json.dumps({"tag": shop.tags[0], "since": NOW.isoformat()}))
    return file


def with_purchases(table: PackedItems, item: str, purchases: float, moment: datetime) -> PackedItems:
    numbers = table.numbers.copy()
    numbers[table.rows([item]), table.number_names.index("purchases_7d")] = purchases
    return replace(table, numbers=numbers, moment=moment)


def served_purchases(watch: ChampionWatch, item: str) -> float:
    assert watch.current is not None
    recommender = watch.current.recommender
    return float(recommender.items.number("purchases_7d")[recommender.vocabulary.items.get(item)])


def test_the_model_in_service_gets_every_newer_table(table: PackedItems, pointer: Path, tmp_path: Path) -> None:
    files = PackedFiles(tmp_path / "packed")
    watch = ChampionWatch(pointer, items=ItemWatch(tmp_path / "packed", lambda: NOW))
    watch.follow()
    assert watch.current is not None
    model, own = watch.current.recommender, served_purchases(watch, "i1")
    assert not watch.follow_items()
    assert served_purchases(watch, "i1") == own
    for minute in (1, 2):
        moment = NOW + timedelta(minutes=minute)
        files.publish(with_purchases(table, "i1", 1000.0 + minute, moment))
        assert watch.follow_items()
        assert not watch.follow_items()
        assert served_purchases(watch, "i1") == 1000.0 + minute
        assert watch.current.items_at == moment.timestamp()
        assert watch.current.names["i1"] == "Item 1"
    # The request that began before goes on with what it began with; the model itself is the same.
    assert model.items is not watch.current.recommender.items
    assert model.sources is watch.current.recommender.sources


def test_the_refreshed_table_has_what_a_point_in_time_frame_has(
    shop: Shop, table: PackedItems, pointer: Path, tmp_path: Path
) -> None:
    PackedFiles(tmp_path / "packed").publish(table)
    items = ItemWatch(tmp_path / "packed", lambda: NOW)
    items.follow()
    watch = ChampionWatch(pointer, items=items)
    watch.follow()
    assert watch.current is not None
    recommender = watch.current.recommender
    frame = Features.open(shop.settings).items_at([f"i{n}" for n in range(ITEMS)], NOW).reset_index()
    expected = ItemTable.pack(frame, recommender.vocabulary)
    for name in ("codes", "numbers"):
        assert getattr(recommender.items, name).tobytes() == getattr(expected, name).tobytes()
    assert dict(watch.current.names) == dict(ItemNames(recommender.vocabulary.items, expected.names))


def test_a_table_older_than_the_models_own_is_not_taken(
    shop: Shop, table: PackedItems, pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import bundle

    content = bundle.manifest(shop.folder(shop.tags[0])) | {"items_at": NOW.timestamp()}
    monkeypatch.setattr(bundle, "manifest", lambda folder: content)
    files = PackedFiles(tmp_path / "packed")
    watch = ChampionWatch(pointer, items=ItemWatch(tmp_path / "packed", lambda: NOW))
    watch.follow()
    own = served_purchases(watch, "i1")
    files.publish(with_purchases(table, "i1", 1000.0, NOW - timedelta(minutes=1)))
    assert not watch.follow_items()
    assert served_purchases(watch, "i1") == own
    files.publish(with_purchases(table, "i1", 1000.0, NOW + timedelta(minutes=1)))
    assert watch.follow_items()
    assert served_purchases(watch, "i1") == 1000.0


def test_a_damaged_table_is_counted_once_and_the_one_before_goes_on(table: PackedItems, tmp_path: Path) -> None:
    files, items = PackedFiles(tmp_path / "packed"), ItemWatch(tmp_path / "packed", lambda: NOW)
    files.publish(table)
    assert items.follow()
    held = items.current
    version = files.publish(replace(table, moment=NOW + timedelta(minutes=1)))
    (tmp_path / "packed" / version / "codes.npy").write_bytes(b"half a file")
    counted = FAILURES.labels("item_table")._value.get()
    assert [items.follow(), items.follow()] == [False, False]
    assert items.current is held
    assert FAILURES.labels("item_table")._value.get() == counted + 1
    files.forget()
    assert not items.follow()
    assert items.current is held


async def test_the_worker_refreshes_by_the_services_clock(shop: Shop, tmp_path: Path) -> None:
    home = shop.copy(tmp_path / "home").settings
    with closing(open_event_log(home)) as log:
        log.append([Event(user_id="u1", item_id="i1", event_type="purchase", timestamp=NOW, price=1.0)])
    failed = REFRESHES.labels("failed")._value.get()
    work = asyncio.create_task(ItemRefresh(home, Clock(NOW)).keep_up())
    files = PackedFiles(home.packed)
    while files.current is None:
        assert not work.done()
        assert REFRESHES.labels("failed")._value.get() == failed
        await asyncio.sleep(0.1)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    refreshed, before = files.newest(), pack(Features.open(shop.settings), NOW)
    assert refreshed is not None
    assert timedelta(0) <= refreshed.moment - NOW < timedelta(minutes=5)
    column = before.number_names.index("purchases_30d")
    assert refreshed.read(["i1"])[0][0, column] == before.read(["i1"])[0][0, column] + 1


def test_the_service_tells_as_of_when_its_items_are(running: Running) -> None:
    deadline = time.monotonic() + 120
    while (health := running.client.get("/healthz").json())["items_as_of"] is None:
        assert time.monotonic() < deadline, running.log()
        time.sleep(0.5)
    assert datetime.fromisoformat(health["items_as_of"]) >= NOW
    assert running.client.post("/recommend", json={"user_id": "u1", "k": 3}).json()["served_by"] == "full"
    assert "kairos_item_table_age_seconds" in running.client.get("/metrics").text
