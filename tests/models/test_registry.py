"""The champion pointer and its history, on BentoML's real store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import bentoml
import pytest

from models import registry
from models.errors import BundleError
from models.registry import (
    KEPT,
    Champion,
    NoChampionError,
    NoEarlierChampionError,
    OtherChampionError,
    Reign,
    catch_up,
    crown,
    publish,
    rollback,
)

START = datetime(2024, 5, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return START + timedelta(days=day)


@pytest.fixture
def pointer(tmp_path: Path) -> Path:
    return tmp_path / "home" / "champion.json"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "sources").mkdir(parents=True)
    (folder / "bundle.json").write_text("{}")
    (folder / "sources" / "als.npy").write_bytes(b"numbers")
    return folder


@pytest.fixture
def tags(bundle: Path) -> list[str]:
    return [publish(bundle, {}) for _ in range(4)]


def history(pointer: Path) -> list[str]:
    champion = registry.champion(pointer)
    return [champion.tag, *(reign.tag for reign in champion.before)]


def test_going_back_goes_further_back_each_time(pointer: Path, tags: list[str]) -> None:
    for day, tag in enumerate(tags):
        crown(pointer, tag, now=at(day))
    assert history(pointer) == tags[::-1]
    back = rollback(pointer, now=at(9))
    assert back == registry.champion(pointer)
    assert back == Champion(
        tags[2], at(9).isoformat(), (Reign(tags[1], at(1).isoformat()), Reign(tags[0], at(0).isoformat()))
    )
    rollback(pointer)
    assert history(pointer) == [tags[1], tags[0]]
    # What was rolled back is no way back any more; what is crowned next has the one in service before it.
    crown(pointer, tags[3])
    assert history(pointer) == [tags[3], tags[1], tags[0]]
    rollback(pointer)
    rollback(pointer)
    with pytest.raises(NoEarlierChampionError, match=f"nothing to go back to.*{tags[0]}"):
        rollback(pointer)
    assert history(pointer) == [tags[0]]


def test_what_is_caught_up_answers_as_long_as_its_champion_is_in_service(pointer: Path, tags: list[str]) -> None:
    crown(pointer, tags[0], now=at(0))
    assert registry.champion(pointer).serves == tags[0]
    held = catch_up(pointer, tags[1], of=tags[0])
    assert held == registry.champion(pointer) == Champion(tags[0], at(0).isoformat(), (), tags[1])
    assert held.serves == tags[1]
    assert crown(pointer, tags[0]).serves == tags[1]  # again: it is the same model
    assert catch_up(pointer, None, of=tags[0]).serves == tags[0]

    # Who catches it up takes minutes; what somebody has said meanwhile holds.
    assert catch_up(pointer, tags[0], of=tags[0]).is_held
    assert catch_up(pointer, tags[1], of=tags[0]).is_held
    catch_up(pointer, None, of=tags[0])
    assert catch_up(pointer, tags[1], of=tags[0]).serves == tags[1]

    crown(pointer, tags[2])
    assert registry.champion(pointer).serves == tags[2]
    assert history(pointer) == [tags[2], tags[0]]
    with pytest.raises(OtherChampionError, match=f"{tags[2]} is in service by now, no longer {tags[0]}"):
        catch_up(pointer, tags[3], of=tags[0])
    catch_up(pointer, tags[3], of=tags[2])
    assert rollback(pointer).serves == tags[0]


def test_who_was_compared_with_one_does_not_take_the_place_of_another(pointer: Path, tags: list[str]) -> None:
    first, second, third, _ = tags
    crown(pointer, first, instead_of="")
    with pytest.raises(OtherChampionError, match=f"{first} is in service by now, {second} was compared with {third}"):
        crown(pointer, second, instead_of=third)
    with pytest.raises(OtherChampionError):
        crown(pointer, second, instead_of="")
    assert history(pointer) == [first]
    assert crown(pointer, second, instead_of=first).tag == second


def test_crowning_the_champion_again_is_no_step_to_go_back(pointer: Path, tags: list[str]) -> None:
    for tag in (tags[0], tags[1], tags[1], tags[0]):
        crown(pointer, tag)
    assert history(pointer) == [tags[0], tags[1], tags[0]]


def test_a_named_earlier_champion(pointer: Path, tags: list[str]) -> None:
    for tag in tags[:3]:
        crown(pointer, tag)
    with pytest.raises(NoEarlierChampionError, match=tags[1]):
        rollback(pointer, to=tags[3])
    assert rollback(pointer, to=tags[0]).tag == tags[0]
    assert history(pointer) == [tags[0]]


def test_a_bundle_that_was_deleted_is_not_gone_back_to(pointer: Path, tags: list[str]) -> None:
    for tag in tags[:3]:
        crown(pointer, tag)
    bentoml.models.delete(tags[1])
    with pytest.raises(NoChampionError, match=f"{tags[1]} is not in BentoML's store"):
        rollback(pointer)
    assert history(pointer)[0] == tags[2]
    assert rollback(pointer, to=tags[0]).tag == tags[0]


def test_without_a_champion_there_is_nothing_to_go_back_to(pointer: Path) -> None:
    with pytest.raises(NoChampionError, match="kairos train"):
        rollback(pointer)


def test_a_pointer_without_history_is_read(pointer: Path, tags: list[str]) -> None:
    pointer.parent.mkdir()
    pointer.write_text(json.dumps({"tag": tags[0], "since": at(0).isoformat()}))
    assert registry.champion(pointer) == Champion(tags[0], at(0).isoformat())
    crown(pointer, tags[1])
    assert history(pointer) == [tags[1], tags[0]]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"tag": "t", "since": "s", "before": [1]}'])
def test_a_damaged_pointer_is_replaced(pointer: Path, tags: list[str], content: str) -> None:
    pointer.parent.mkdir()
    pointer.write_text(content)
    with pytest.raises((ValueError, TypeError)):
        registry.champion(pointer)
    crown(pointer, tags[0])
    assert history(pointer) == [tags[0]]


def test_the_history_is_bounded(pointer: Path, tags: list[str]) -> None:
    for n in range(KEPT + 5):
        crown(pointer, tags[n % 2])
    assert len(history(pointer)) == KEPT + 1


def test_of_many_that_are_crowned_at_once_none_is_forgotten(pointer: Path, tags: list[str]) -> None:
    asked = (tags * 4)[: KEPT - 4]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda tag: crown(pointer, tag), asked))
    reigns = history(pointer)
    # Of neighbours with the same tag, the second one changes nothing.
    assert all(one != other for one, other in pairwise(reigns))
    assert set(reigns) == set(tags)


@pytest.mark.parametrize("file", ["bundle.json", "sources/als.npy", registry.DIGESTS])
def test_damage_to_a_published_bundle_is_told_with_its_file(bundle: Path, file: str) -> None:
    folder = registry.bundle_path(publish(bundle, {}))
    registry.check(folder)
    good = (folder / file).read_bytes()
    (folder / file).write_bytes(good[:-1] + b"?")
    with pytest.raises(BundleError, match=file):
        registry.check(folder)
    (folder / file).write_bytes(good)
    (folder / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"bundle\.json is missing"):
        registry.check(folder)


def test_a_published_bundle_can_be_published_again(bundle: Path) -> None:
    again = registry.bundle_path(publish(registry.bundle_path(publish(bundle, {})), {}))
    registry.check(again)
    assert set(json.loads((again / registry.DIGESTS).read_text())) >= {"bundle.json", "sources/als.npy"}
