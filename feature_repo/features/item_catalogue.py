"""What an item is."""

from __future__ import annotations

from feast.types import Float64, String
from ibis.expr.types import Table

from feature_repo.feature import ITEM, MOMENT, Expect, Feature
from feature_repo.schema import (
    ATTRIBUTES,
    BRAND,
    CATEGORY,
    DEPARTMENT,
    IN_STOCK,
    NAME,
    NOT_IN_STOCK,
    PRICE,
    SUBCATEGORY,
    TIMESTAMP,
)


def item_catalogue(items: Table) -> Table:
    """The items table's columns, from the moment on from which they were true. `in_stock` is 1, or 0 where the
    attribute of that name says no; null where the table has no such column."""
    told = items[ATTRIBUTES].get(IN_STOCK, None).strip().lower()
    in_stock = (~told.isin(NOT_IN_STOCK)).cast("float64")
    return items.mutate(**{MOMENT: items[TIMESTAMP], IN_STOCK: in_stock})


FEATURE = Feature(
    name="item_catalogue",
    entity=ITEM,
    reads="items",
    compute=item_catalogue,
    fields={
        **dict.fromkeys((NAME, CATEGORY, SUBCATEGORY, DEPARTMENT, BRAND), String),
        PRICE: Float64,
        IN_STOCK: Float64,
    },
    description="Name, category, department, brand, list price, whether in stock",
    expects={PRICE: Expect(at_least=0, drift=0.5), IN_STOCK: Expect(at_least=0, at_most=1)},
)
