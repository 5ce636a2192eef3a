"""What is said of items, as features: worked examples, and tables as they should not be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.attributes import ItemAttributes
from models.errors import TableError
from models.ids import IdMap

ITEMS = IdMap(["a", "b", "c", "d"])


def table(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"item_id": list("abcd")[: len(next(iter(columns.values())))], **columns})


def test_values_count_as_a_whole_and_names_word_by_word() -> None:
    found = ItemAttributes.of(
        table(name=["Red apple", "Green APPLE", "Red pear", "Loaf"], brand=["X y", "X y", "Z", None]), ITEMS
    )
    assert found.names == ("brand=x y", "name:apple", "name:red")
    has = found.matrix.toarray() > 0
    assert has.tolist() == [
        [False, False, False],
        [True, True, True],
        [True, True, False],
        [False, False, True],
        [False, False, False],
    ]
    assert found.known.tolist() == [False, True, True, True, False]


def test_a_rarer_feature_weighs_more_and_rows_have_length_1() -> None:
    rows = [["x", "p"], ["x", "p"], ["x", "q"], ["y", "q"]]
    found = ItemAttributes.of(table(brand=[r[0] for r in rows], category=[r[1] for r in rows]), ITEMS)
    first = dict(zip(found.names, found.matrix.toarray()[1], strict=True))
    assert first["category=p"] > first["brand=x"] > 0
    np.testing.assert_allclose(np.linalg.norm(found.matrix.toarray()[1:], axis=1), 1.0, rtol=1e-6)


def test_prices_of_half_a_doubling_are_alike() -> None:
    found = ItemAttributes.of(table(price=[1.0, 1.1, 8.0, 8.2]), ITEMS)
    assert found.names == ("price=0", "price=6")


def test_a_map_of_further_attributes_counts_as_columns() -> None:
    maps = [{"colour": "red"}, [("colour", "red")], {"colour": "blue", "title": "Big box"}, None]
    found = ItemAttributes.of(table(attributes=maps), ITEMS)
    assert found.names == ("colour=red",)


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf"), pd.NA, pd.NaT, "", "  "])
def test_what_is_missing_or_no_number_is_not_known(nothing: object) -> None:
    found = ItemAttributes.of(table(brand=["x", "x", "y", nothing]), ITEMS)
    assert found.known.tolist() == [False, True, True, False, False]
    assert np.isfinite(found.matrix.data).all()


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0, 0.0, None])
def test_a_price_that_is_none_is_not_known(price: object) -> None:
    found = ItemAttributes.of(table(price=[1.0, 1.0, 9.0, price], brand=["x", "x", "y", "y"]), ITEMS)
    assert found.names == ("brand=x", "brand=y", "price=0")
    assert found.matrix[4].nnz == 1


def test_a_constant_column_is_left_out() -> None:
    assert ItemAttributes.of(table(brand=["x"] * 4, category=["p", "p", "q", "q"]), ITEMS).names == (
        "category=p",
        "category=q",
    )


@pytest.mark.parametrize("column", [["x"] * 4, [None] * 4, ["p", "q", "r", "s"]], ids=["constant", "null", "unique"])
def test_columns_that_tell_nothing_apart_are_an_error(column: list[object]) -> None:
    with pytest.raises(TableError, match=r"tells the . items with attributes apart.*'brand'"):
        ItemAttributes.of(table(brand=column), ITEMS)


def test_a_price_in_words_is_an_error_that_names_it() -> None:
    with pytest.raises(TableError, match="'price' has 'cheap', expected a number"):
        ItemAttributes.of(table(price=["cheap", 1.0, 2.0, 3.0]), ITEMS)


def test_without_an_item_column_says_so() -> None:
    with pytest.raises(TableError, match="'item_id' is missing"):
        ItemAttributes.of(pd.DataFrame({"brand": ["x"]}), ITEMS)


def test_the_last_row_about_an_item_counts() -> None:
    frame = pd.DataFrame(
        {
            "item_id": ["a", "a", "b", "c"],
            "brand": ["x", "y", "x", "y"],
            "timestamp": pd.to_datetime(["2024-02-01", "2024-01-01", "2024-01-01", "2024-01-01"], utc=True),
        }
    )
    found = ItemAttributes.of(frame, ITEMS)
    assert found.names == ("brand=x",)
    assert found.known.tolist() == [False, True, True, False, False]


def test_another_table_follows_with_the_same_features() -> None:
    found = ItemAttributes.of(table(brand=["x", "x", "y", "y"], category=["p", "q", "p", "q"]), ITEMS)
    new = pd.DataFrame({"item_id": ["a", "e"], "brand": ["x", "y"], "category": ["p", "never met"]})
    later = found.follow(new, IdMap(["a", "e", "f"]))
    assert later.names == found.names
    np.testing.assert_allclose(later.matrix.toarray()[1], found.matrix.toarray()[1], rtol=1e-6)
    assert dict(zip(later.names, later.matrix.toarray()[2], strict=True))["brand=y"] == pytest.approx(1.0)
    assert later.known.tolist() == [False, True, True, False]
