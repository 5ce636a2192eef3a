"""Following the pointer: swaps, refusals, and the bundle that came with the Bento."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from models import index, registry, smoke
from services.champion import ChampionWatch
from services.metrics import LOST_INDEXES, SWAPS

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
    torch.set_num_threads(1)  # as the service does
    for name in ("one", "two"):
        shutil.copytree(shop.folder(shop.tags[0]), tmp_path / name)
    return tmp_path


def _crown(pointer: Path, version: str, since: str = "2024-01-01T00:00:00+00:00", caught_up: str | None = None) -> None:
    names = {"tag": f"kairos:{version}", "caught_up": caught_up and f"kairos:{caught_up}"}
    pointer.write_text(json.dumps({**names, "since": since}))


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


def test_the_champion_caught_up_answers(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    assert watch.follow()
    _crown(pointer, "one", caught_up="two")
    assert watch.follow()
    assert _version(watch) == "two"
    assert not watch.follow()
    _crown(pointer, "one")
    assert watch.follow()
    assert _version(watch) == "one"


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_service_that_starts_without_what_is_caught_up_answers_as_was_judged(bundles: Path, damage: str) -> None:
    if damage == "gone":
        shutil.rmtree(bundles / "two")
    else:
        (bundles / "two" / "items.npz").write_bytes(b"")
    watch = ChampionWatch(bundles / "champion.json")
    _crown(bundles / "champion.json", "one", caught_up="two")
    assert watch.follow()
    assert _version(watch) == "one"
    assert not watch.follow()


def test_a_new_champion_that_is_caught_up_in_vain_answers_as_was_judged(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    assert watch.follow()
    shutil.copytree(bundles / "two", bundles / "three")
    (bundles / "three" / "items.npz").write_bytes(b"")
    _crown(pointer, "two", caught_up="three")
    assert watch.follow()
    assert _version(watch) == "two"
    assert not watch.follow()


def test_a_champion_that_cannot_answer_in_place_of_what_is_gone_is_tried_once(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    assert watch.follow()
    (bundles / "two" / "items.npz").write_bytes(b"")
    _crown(pointer, "two", caught_up="gone")
    refused = SWAPS.labels("refused")._value.get()
    for _ in range(3):
        assert not watch.follow()
    assert SWAPS.labels("refused")._value.get() == refused + 1
    _crown(pointer, "two", since="2024-01-02T00:00:00+00:00", caught_up="gone")
    assert not watch.follow()
    assert SWAPS.labels("refused")._value.get() == refused + 2  # again, as somebody asks again
    shutil.copytree(bundles / "one", bundles / "gone")
    assert watch.follow()
    assert _version(watch) == "gone"


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


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "torn"])
def test_whatever_file_is_damaged_the_bundle_is_refused(bundles: Path, damage: str) -> None:
    pointer, published = bundles / "champion.json", bundles / "two"
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    watch.follow()
    files = json.loads((published / registry.DIGESTS).read_text())
    assert len(files) > 8
    for n, name in enumerate(files):
        good = (published / name).read_bytes()
        if damage == "missing":
            (published / name).unlink()
        else:
            half = good[: len(good) // 2]
            # Torn: what a crash of the machine leaves of a file whose length was written before its content.
            left = {"empty": b"", "cut": half, "torn": half + bytes(len(good) - len(half))}[damage]
            (published / name).write_bytes(left)
        refused = SWAPS.labels("refused")._value.get()
        _crown(pointer, "two", since=f"{damage} {n}")
        assert not watch.follow(), name
        assert not watch.follow(), name
        assert SWAPS.labels("refused")._value.get() == refused + 1
        assert _version(watch) == "one"
        (published / name).write_bytes(good)
    _crown(pointer, "two", since="whole again")
    assert watch.follow()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_bundle_from_before_there_were_digests_is_refused_too(bundles: Path, damage: str) -> None:
    pointer, published = bundles / "champion.json", bundles / "two"
    files = json.loads((published / registry.DIGESTS).read_text())
    for folder in ("one", "two"):
        (bundles / folder / registry.DIGESTS).unlink()
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    assert watch.follow()
    for n, name in enumerate(files):
        good = (published / name).read_bytes()
        if damage == "missing":
            (published / name).unlink()
        else:
            (published / name).write_bytes(good[: len(good) // 2] if damage == "cut" else b"")
        _crown(pointer, "two", since=f"{damage} {n}")
        assert not watch.follow(), name
        (published / name).write_bytes(good)


@pytest.fixture
def graphs(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The graphs of bundle two: both bundles have them, as if their catalogue were a large one."""
    monkeypatch.setattr(index, "APPROXIMATE_ABOVE", 10)
    for folder in sorted(bundles.glob("*/sources/*/index")):
        small = folder.rename(folder.with_name("small"))
        index.VectorIndex.load(small).save(folder)
    for name in ("one", "two"):
        (bundles / name / registry.DIGESTS).unlink()
    return sorted((bundles / "two").rglob("graph.faiss"))


def test_a_search_index_that_cannot_be_read_is_counted_and_no_reason_to_refuse(
    bundles: Path, graphs: list[Path]
) -> None:
    assert len(graphs) == 2
    pointer = bundles / "champion.json"
    watch = ChampionWatch(pointer)

    def lost(version: str, since: str) -> float:
        _crown(pointer, version, since)
        assert watch.follow()
        assert _version(watch) == version
        value: float = LOST_INDEXES._value.get()
        return value

    assert lost("two", "whole") == 0
    assert lost("one", "in between") == 0
    torn = graphs[0].read_bytes()[:1_000]
    graphs[0].unlink()  # what is in memory still is: it is mapped
    graphs[0].write_bytes(torn)
    assert lost("two", "one torn") == 1
    assert lost("one", "has its own") == 0
    graphs[1].unlink()
    assert lost("two", "the other missing too") == 2
    assert lost("one", "at last") == 0


def test_a_model_whose_weights_are_no_numbers_is_refused(bundles: Path) -> None:
    pointer, file = bundles / "champion.json", bundles / "two" / "ranker.pt"
    (bundles / "two" / registry.DIGESTS).unlink()
    weights = torch.load(file, weights_only=True)
    next(iter(weights.values())).fill_(float("nan"))
    torch.save(weights, file)
    watch = ChampionWatch(pointer)
    _crown(pointer, "one")
    watch.follow()
    _crown(pointer, "two")
    assert not watch.follow()
    assert _version(watch) == "one"


def test_a_model_that_is_too_slow_is_refused(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "ANSWER_WITHIN_S", 0.0)
    _crown(bundles / "champion.json", "one")
    assert not ChampionWatch(bundles / "champion.json").follow()


def test_a_service_that_starts_on_a_damaged_champion_takes_the_one_before(bundles: Path) -> None:
    pointer = bundles / "champion.json"
    (bundles / "two" / "bundle.json").unlink()
    before = [{"tag": f"kairos:{name}", "since": "2024-01-01T00:00:00+00:00"} for name in ("deleted", "two", "one")]
    pointer.write_text(json.dumps({"tag": "kairos:two", "since": "2024-01-02T00:00:00+00:00", "before": before}))
    watch = ChampionWatch(pointer)
    assert watch.follow()
    assert _version(watch) == "one"
    assert not watch.follow()


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
