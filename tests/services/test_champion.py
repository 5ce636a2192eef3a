"""Following the pointer: swaps, refusals, and the bundle that came with the Bento."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from models import registry
from services.champion import ChampionWatch

from .conftest import Shop


@pytest.fixture
def bundles(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for BentoML's store, of which there is one per process."""

    def bundle_path(tag: str) -> Path:
        folder = tmp_path / tag.partition(":")[2]
        if not folder.exists():
            raise registry.NoChampionError(f"model {tag} is not in the store")
        return folder

    monkeypatch.setattr(registry, "bundle_path", bundle_path)
    for name in ("one", "two"):
        shutil.copytree(shop.folder(shop.tags[0]), tmp_path / name)
    return tmp_path


def _crown(pointer: Path, version: str, since: str = "2024-01-01T00:00:00+00:00") -> None:
    pointer.write_text(json.dumps({"tag": f"kairos:{version}", "since": since}))


def _version(watch: ChampionWatch) -> str | None:
    return watch.current and watch.current.version


def test_follows_the_pointer_and_back(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)
    assert not watch.follow()
    assert watch.current is None
    for version in ("one", "two", "one"):
        _crown(pointer, version)
        assert watch.follow()
        assert _version(watch) == version
        assert not watch.follow()


def test_a_damaged_bundle_is_refused_until_crowned_again(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    watch.follow()
    good = (bundles / "two" / "items.npz").read_bytes()
    (bundles / "two" / "items.npz").write_bytes(good[: len(good) // 2])
    _crown(pointer, "two")
    assert not watch.follow()
    assert _version(watch) == "one"
    (bundles / "two" / "items.npz").write_bytes(good)
    assert not watch.follow()
    _crown(pointer, "two", since="2024-01-02T00:00:00+00:00")
    assert watch.follow()
    assert _version(watch) == "two"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tag": "kairos:missing", "since": "now"}'])
def test_a_bad_pointer_changes_nothing(bundles: Path, content: str) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    watch.follow()
    pointer.write_text(content)
    assert not watch.follow()
    assert _version(watch) == "one"


def test_the_packed_bundle_serves_where_there_is_no_champion(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer, lambda: ("kairos:packed", bundles / "two"))
    assert watch.follow()
    assert _version(watch) == "packed"
    assert not watch.follow()
    _crown(pointer, "one")
    assert watch.follow()
    assert _version(watch) == "one"
