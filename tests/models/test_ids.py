from pathlib import Path

import pytest

from models.ids import UNKNOWN, IdMap


def test_first_id_is_one_and_unknown_is_zero() -> None:
    ids = IdMap(["b", "a", "b"])
    assert ids.encode(["b", "a", "zzz", None]).tolist() == [1, 2, UNKNOWN, UNKNOWN]
    assert len(ids) == 3
    assert ids.decode([2, 1]) == ["a", "b"]


def test_zero_has_no_name() -> None:
    with pytest.raises(IndexError):
        IdMap(["a"]).decode([0])


def test_round_trip_keeps_every_character(tmp_path: Path) -> None:
    names = ["é", "商品", 'with "quotes"', "x" * 128]
    IdMap(names).save(tmp_path / "ids.json")
    assert IdMap.load(tmp_path / "ids.json").names == tuple(names)


@pytest.mark.parametrize("count", [0, 1, 5_000, 12_345])
def test_names_come_back_in_order(tmp_path: Path, count: int) -> None:
    ids = IdMap(f"{n}\u2028\x85\n" for n in range(count))
    ids.save(tmp_path / "ids.json")
    loaded = IdMap.load(tmp_path / "ids.json")
    assert loaded.names == ids.names
    assert loaded.encode(ids.names).tolist() == list(range(1, count + 1))


def test_names_of_an_older_bundle_are_one_list(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text('["b", "ä\u2028", "a"]', encoding="utf-8")
    assert IdMap.load(tmp_path / "ids.json").names == ("b", "ä\u2028", "a")
