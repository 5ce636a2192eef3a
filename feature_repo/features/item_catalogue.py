"""What an item is."""

from __future__ import annotations

from feast.types import Float64, String
from ibis.expr.types import Table

from feature_repo.feature import ITEM, MOMENT, Expect, Feature
from feature_repo.schema import BRAND, CATEGORY, DEPARTMENT, NAME, PRICE, SUBCATEGORY, TIMESTAMP


def item_catalogue(items: Table) -> Table:
    """The items table's columns, from the moment on from which they were true."""
    return items.mutate(**{MOMENT: items[TIMESTAMP]})


FEATURE = Feature(
    name="item_catalogue",
    entity=ITEM,
    reads="items",
    compute=item_catalogue,
    fields={**dict.fromkeys((NAME, CATEGORY, SUBCATEGORY, DEPARTMENT, BRAND), String), PRICE: Float64},
    description="Name, category, department, brand and list price",
    expects={PRICE: Expect(at_least=0, drift=0.5)},
)
