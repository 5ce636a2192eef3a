"""Array columns become the table that a frame of the same values becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import TableError
from models.ids import IdMap
from models.item_packer import ItemColumns, ItemPacker
from models.items import ItemNames, ItemTable, Texts
from models.vocabulary import Vocabulary

VOCABULARY = Vocabulary(
    IdMap(["c", "a", "not in the table", "b"]),
    {name: IdMap(values) for name, values in {"category": ["fish", "fruit"], "brand": ["x"]}.items()}
    | {name: IdMap(()) for name in ("subcategory", "department")},
)
IDS = ("a", "not in the model", "b", "c")
NUMBERS = {"purchases_7d": [1.0, 2.0, np.nan, 4.0], "price": [0.5, 1.5, 2.5, -0.0], "not the model's": [1.0] * 4}
TEXTS = {
    "name": ["Apple", "Nothing", None, "Çod"],
    "category": ["fruit", "fruit", "not the model's", "fish"],
    "brand": [None, "x", "x", None],
}


def columns() -> ItemColumns:
    texts = {}
    for name, column in TEXTS.items():
        values = (None, *dict.fromkeys(text for text in column if text))
        texts[name] = Texts(np.array([*map(values.index, column), 0], dtype=np.int32), values)
    return ItemColumns(IDS, {name: np.array([*column, np.nan]) for name, column in NUMBERS.items()}, texts)


def same(one: ItemTable, other: ItemTable) -> bool:
    rows = range(len(VOCABULARY.items))
    return (
        one.codes.tobytes() == other.codes.tobytes()
        and one.numbers.tobytes() == other.numbers.tobytes()
        and [one.names[row] for row in rows] == [other.names[row] for row in rows]
    )


def test_it_is_the_table_of_a_frame() -> None:
    packer, frame = ItemPacker(VOCABULARY), pd.DataFrame({"item_id": IDS, **NUMBERS, **TEXTS})
    expected = ItemTable.pack(frame, VOCABULARY)
    assert same(packer.pack(columns()), expected)
    assert same(packer.pack(columns()), expected)
    assert expected.codes.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_what_it_keeps_follows_the_columns() -> None:
    packer, first = ItemPacker(VOCABULARY), columns()
    packer.pack(first)
    turned = ItemColumns(
        ("c", "b", "not in the model", "a"),
        {name: np.array([*column[::-1], np.nan]) for name, column in NUMBERS.items()},
        {name: Texts(np.append(text.codes[-2::-1], 0), text.values) for name, text in first.texts.items()},
    )
    assert same(packer.pack(turned), packer.pack(columns()))
    renamed = first.texts | {"category": Texts(first.texts["category"].codes, (None, "fish", "fish", "fruit"))}
    assert packer.pack(ItemColumns(first.ids, first.numbers, renamed)).code("category").tolist() == [0, 2, 1, 0, 1]


def test_without_columns_nothing_is_known() -> None:
    table = ItemPacker(VOCABULARY).pack(ItemColumns(IDS, {}, {}))
    assert same(table, ItemTable.pack(pd.DataFrame({"item_id": IDS}), VOCABULARY))


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_a_column_that_is_too_short_is_told(kind: str) -> None:
    short = np.zeros(len(IDS), dtype=np.int32)
    numbers, texts = ({"price": short * 0.5}, {}) if kind == "numbers" else ({}, {"name": Texts(short, [None])})
    with pytest.raises(TableError, match=r"has 4 rows, expected 5"):
        ItemPacker(VOCABULARY).pack(ItemColumns(IDS, numbers, texts))


def test_names_are_looked_up(tmp_path: Path) -> None:
    table = ItemPacker(VOCABULARY).pack(columns())
    table.save(tmp_path / "items.npz")
    for kept in (table, ItemTable.load(tmp_path / "items.npz")):
        names = ItemNames(VOCABULARY.items, kept.names)
        assert dict(names) == {"a": "Apple", "b": "b", "c": "Çod", "not in the table": "not in the table"}
        assert len(names) == 4
        assert "not in the model" not in names


def test_a_table_of_an_older_bundle_is_read(tmp_path: Path) -> None:
    table = ItemPacker(VOCABULARY).pack(columns())
    names = np.array([table.names[row] for row in range(len(VOCABULARY.items))])
    np.savez(tmp_path / "items.npz", codes=table.codes, numbers=table.numbers, names=names)
    assert same(ItemTable.load(tmp_path / "items.npz"), table)
