"""What a feature file declares: an Ibis expression and the Feast view that carries its result, together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

import ibis
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import FeastType
from ibis.expr.types import BooleanValue, Column, IntegerColumn, Table, TimestampColumn

from feature_repo import schema as s

MOMENT: Final = "event_timestamp"
"""The moment that a row of features is true for. Features never look past it, and never at the clock."""
AGE_DAYS: Final = "age_days"
"""Column of the inputs: how long before the row's moment the event was, in days."""
EPOCH_S: Final = "epoch_s"
"""Column of the inputs: the event's time in epoch seconds, with their fraction. What Ibis' own `epoch_seconds` gives
differs: DuckDB keeps the fraction and Spark drops it."""
RECENCY: Final = "recency"
"""Column of `history`: 0 for the user's newest event, 1 for the one before it, and so on."""
HOUR_OF_WEEK: Final = "hour_of_week"
"""0 is Monday 00:00–00:59 UTC, 167 is Sunday 23:00–23:59."""

USER: Final = Entity(name="user", join_keys=[s.USER_ID], value_type=ValueType.STRING)
ITEM: Final = Entity(name="item", join_keys=[s.ITEM_ID], value_type=ValueType.STRING)
TIME_OF_WEEK: Final = Entity(name="time_of_week", join_keys=[HOUR_OF_WEEK], value_type=ValueType.INT64)

Input = Literal["history", "events", "items", "users"]
"""What an expression reads.

- `history`: each user's newest `HISTORY_EVENTS` events but impressions, at each of the user's moments:
  `event_id, user_id, event_timestamp, item_id, event_type, timestamp, epoch_s, value, category, age_days, recency`.
  The batch engine cuts it from the lake, the stream path from the online store: the same table.
- `events`: all events but impressions up to the moment, with `discount`, `category`, `epoch_s` and `age_days`.
- `items`, `users`: the tables as ingested.
"""


def epoch_us(time: TimestampColumn) -> IntegerColumn:
    """Epoch microseconds, as Ibis has only seconds.

    Those are fractional on DuckDB: without the truncation the part below a second would count twice.
    """
    return time.truncate("s").epoch_seconds().cast("int64") * 1_000_000 + time.microsecond()


def only_if(condition: BooleanValue, value: Column) -> Column:
    """The value where the condition holds, else null, which aggregates skip. `max(where=...)` says the same, but DuckDB
    copies every column of the aggregation for each such filter, which an event's few rows do not pay for."""
    return condition.ifelse(value, ibis.null(value.type()))


@dataclass(frozen=True)
class Expect:
    """What a column's values should look like. Checked whenever a run computes the feature."""

    at_least: float | None = None
    at_most: float | None = None
    null_share: float = 1.0
    """At most this share of the rows may be null."""
    drift: float | None = None
    """Most that the distribution may have moved since the last accepted run; None: it may move freely."""


@dataclass(frozen=True, eq=False)
class Feature:
    """One feature view: what it reads, what it computes, what it serves.

    `compute` is a pure function from the input to one row per entity and moment, with the join key,
    `event_timestamp` and every column of `fields`. It is compiled for the engine that runs it.
    """

    name: str
    entity: Entity
    reads: Input
    compute: Callable[[Table], Table]
    fields: Mapping[str, FeastType]
    description: str
    trained_on: bool = True
    """False: no model learns from it, so only the newest moment is computed."""
    ttl: timedelta | None = None
    """How long a value holds. An older one counts as unknown, in training and in service alike; None: for ever."""
    expects: Mapping[str, Expect] = field(default_factory=dict)
    """What the values of its fields should look like; a list field is looked at value by value."""

    @property
    def columns(self) -> list[str]:
        return [self.entity.join_key, MOMENT, *self.fields]

    @property
    def streamed(self) -> bool:
        """Whether an arriving event updates it at once."""
        return self.reads == "history"

    def expression(self, table: Table) -> Table:
        """The view's rows over an input table, columns in the order of the view."""
        return self.compute(table).select(*self.columns)

    def view(self, path: str) -> FeatureView:
        """The Feast view over the snapshots in `path`, a glob of Parquet files."""
        return FeatureView(
            name=self.name,
            entities=[self.entity],
            schema=[Field(name=name, dtype=dtype) for name, dtype in self.fields.items()],
            source=FileSource(name=f"{self.name}_snapshots", path=path, timestamp_field=MOMENT),
            ttl=self.ttl,
            online=True,
            description=self.description,
        )
