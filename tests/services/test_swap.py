"""Champions that change while requests come in: none fails, and each is answered by one model or the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from models import registry

from .conftest import Running, Shop, crown, store_of

FOLLOWED_WITHIN_S = 15.0


@dataclass
class Asked:
    """What a client that asks without a pause was told so far."""

    statuses: list[int] = field(default_factory=list)
    """Of every answer; 0 where there was none."""
    versions: list[str] = field(default_factory=list)
    lengths: set[int] = field(default_factory=set)
    """How many items answers had."""


@contextmanager
def asking(service: Running, clients: int = 2) -> Iterator[Asked]:
    """Clients that ask on and on while this is open; whatever they meet is in what it gives."""
    asked, done = Asked(), threading.Event()

    def ask(user: str) -> None:
        with httpx.Client(base_url=service.client.base_url, timeout=20) as client:
            while not done.is_set():
                try:
                    answer = client.post("/recommend", json={"user_id": user, "k": 10})
                except httpx.TransportError:
                    asked.statuses.append(0)
                    continue
                asked.statuses.append(answer.status_code)
                if answer.is_success:
                    asked.lengths.add(len(answer.json()["items"]))
                    asked.versions.append(f"kairos:{answer.json()['model_version']}")

    threads = [threading.Thread(target=ask, args=(f"u{n}",)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        done.set()
        for thread in threads:
            thread.join()


def rollback(shop: Shop) -> str:
    with store_of(shop.settings):
        return registry.rollback(shop.settings.champion).tag


def until_named(asked: Asked, tag: str) -> None:
    seen, deadline = len(asked.versions), time.monotonic() + FOLLOWED_WITHIN_S
    while tag not in asked.versions[seen:]:
        assert time.monotonic() < deadline, f"{tag} was not followed"
        time.sleep(0.05)


def refused(service: Running) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('kairos_model_swaps_total{outcome="refused"')
    )


def test_crowning_and_going_back_under_load(running: Running) -> None:
    shop = running.shop
    first, second = shop.tags
    with asking(running) as asked:
        until_named(asked, first)
        for _ in range(2):
            crown(shop.settings, second)
            until_named(asked, second)
            assert rollback(shop) == first
            until_named(asked, first)
    assert set(asked.statuses) == {200}
    assert set(asked.versions) == {first, second}
    assert asked.lengths == {10}


def test_a_damaged_bundle_is_refused_under_load(running: Running) -> None:
    shop = running.shop
    first, second = shop.tags
    counted, file = refused(running), shop.folder(second) / "items.npz"
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    with asking(running) as asked:
        crown(shop.settings, second)
        deadline = time.monotonic() + FOLLOWED_WITHIN_S
        while refused(running) == counted:
            assert time.monotonic() < deadline, "the damage went unseen"
            time.sleep(0.1)
        file.write_bytes(good)
        assert rollback(shop) == first
        until_named(asked, first)
    assert refused(running) == counted + 1
    assert set(asked.statuses) == {200}
    assert set(asked.versions) == {first}
    assert asked.lengths == {10}
    assert "items.npz: not what was published" in running.log()
    assert registry.champion(shop.settings.champion).tag == first
