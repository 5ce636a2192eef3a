"""What was just bought rests until its purchase cycle comes round."""

from __future__ import annotations

from typing import Final

import numpy as np

from feature_repo.schema import CATEGORY
from models.batch import Array, Ints, StateBatch
from models.items import ItemTable
from models.state import ACTIVITY, DAY_S, OWN

AWAKE_AFTER: Final = 0.5
"""Share of the cycle after which an item may be recommended again: shoppers stock up before they run out."""
SHORTEST_DAYS, LONGEST_DAYS = 1.0, 90.0
"""A cycle is taken to be no shorter, as several purchases on a day are one errand, and no longer."""
UNKNOWN_DAYS: Final = 7.0
"""The cycle of what was bought once by somebody of whom no rhythm is known."""
_PURCHASES, _FIRST, _LAST_PURCHASE = (
    OWN.index(name) for name in ("own_purchases", "own_first_at", "own_last_purchase_at")
)


def resting(batch: StateBatch, items: ItemTable) -> list[Ints]:
    """Per user, sorted ids of the items that were bought and are not due yet.

    The cycle is the item's own with this user; of an item bought once, that of its category, else the user's usual
    time between purchases.
    """
    purchases, first, last = (batch.own[:, column] for column in (_PURCHASES, _FIRST, _LAST_PURCHASE))
    own = np.where(purchases > 1, (last - first) / DAY_S / np.maximum(purchases - 1, 1), np.nan)
    usual = batch.activity[batch.own_row, ACTIVITY.index("purchase_gap_days")]
    cycle = own
    for fallback in (_category_cycles(batch, items), usual, np.full(len(own), UNKNOWN_DAYS)):
        cycle = np.where(np.isnan(cycle), fallback, cycle)
    since_days = (batch.now[batch.own_row] - last) / DAY_S
    rests = since_days < AWAKE_AFTER * np.clip(cycle, SHORTEST_DAYS, LONGEST_DAYS)  # NaN, never bought: false
    bounds = np.searchsorted(batch.own_row[rests], np.arange(len(batch) + 1))
    ids = batch.own_item[rests]
    return [np.sort(ids[bounds[row] : bounds[row + 1]]) for row in range(len(batch))]


def _category_cycles(batch: StateBatch, items: ItemTable) -> Array:
    """[M] the cycle of each own item's category in days, NaN where none is known."""
    category = items.code(CATEGORY)[batch.own_item].astype(np.int64)
    step = int(max(category.max(initial=0), batch.cycle_category.max(initial=0))) + 1
    keys = batch.cycle_row.astype(np.int64) * step + batch.cycle_category
    order = np.argsort(keys)
    wanted = batch.own_row.astype(np.int64) * step + category
    at = np.searchsorted(keys[order], wanted)
    at[at == len(keys)] = 0
    if not len(keys):
        return np.full(len(wanted), np.nan)
    found = (keys[order][at] == wanted) & (category > 0)
    return np.where(found, batch.cycle_gap_days[order][at], np.nan)
