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
