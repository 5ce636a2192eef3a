"""The offline side: the batch's expressions over the lake, written as snapshots, read back by Feast's join."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import inputs as cuts
from feature_repo import schema as s
from feature_repo import snapshots
from feature_repo.engines.duckdb import TIME, DuckDBCut, DuckDBEngine
from feature_repo.errors import RowsLostError
from feature_repo.feature import MOMENT, Feature
from feature_repo.lake import Lake
from feature_repo.store import Features

Pair = tuple[Any, datetime]
"""An entity's key and a moment, UTC."""
PAIRS_AT_ONCE: Final = 250
"""What is in memory is at most as many times `HISTORY_EVENTS` events."""
_ROW: Final = "asked_row"


class PointInTime:
    """Answers with the value that was true for an entity at a moment.

    Args:
        lake: where the events are. All of them: what comes after a moment must not show.
        scratch: a home of its own, for snapshots and registry.
    """

    def __init__(self, lake: Lake, scratch: Features) -> None:
        self._lake = lake
        self._scratch = scratch
        self._into = scratch.settings.features
        scratch.apply()

    def write_moment(self, features: Sequence[Feature], moment: datetime) -> None:
        """Snapshots of whole views as of one moment, as the batch makes them."""
        snapshots.compute(DuckDBEngine(self._lake), self._lake, features, [moment], self._into)

    def write_pairs(self, features: Sequence[Feature], pairs: Iterable[Pair]) -> dict[Feature, set[Pair]]:
        """Snapshots of streamed views for some users, each at moments of the user's own, in place of those before.

        Returns:
            The pairs that have a row, per view.
        """
        for feature in features:
            for old in (self._into / feature.name).glob("*.parquet"):
                old.unlink()
        found: dict[Feature, set[Pair]] = {feature: set() for feature in features}
        for number, part in enumerate(self._parts(set(pairs))):
            for feature, file in self._write(features, part, f"pairs-{number}.parquet"):
                table = pq.read_table(file, columns=[feature.entity.join_key, MOMENT])
                found[feature].update(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return found

    def _write(self, features: Sequence[Feature], pairs: Sequence[Pair], name: str) -> Iterator[tuple[Feature, Any]]:
        con = ibis.duckdb.connect()
        try:
            users, moments = zip(*pairs, strict=True)
            asked = ibis.memtable(pa.table({s.USER_ID: users, MOMENT: pa.array(moments, pa.timestamp("us", "UTC"))}))
            asked = asked.mutate(**{MOMENT: asked[MOMENT].cast(TIME)})
            events = con.read_parquet(self._lake.events)
            events = events.join(
                asked, [events[s.USER_ID] == asked[s.USER_ID], events[s.TIMESTAMP] <= asked[MOMENT]]
            ).drop(f"{s.USER_ID}_right")
            at = ibis.literal(max(moments)).cast(TIME)
            events = cuts.with_category(events, con.read_parquet(self._lake.items), at)
            history = con.create_table("history", cuts.history(events), temp=True)
            cut = DuckDBCut(con, {"history": history})
            for feature in features:
                file = self._into / feature.name / name
                file.parent.mkdir(parents=True, exist_ok=True)
                cut.write(feature.expression(cut.tables[feature.reads]), file)
                yield feature, file
        finally:
            con.disconnect()

    def _parts(self, pairs: set[Pair]) -> Iterator[list[Pair]]:
        """The pairs in parts of bounded size, within each of which no item's row in the catalogue changes:
        a category is the one that the item had at the moment."""
        changes = sorted(set(pq.read_table(self._lake.items, columns=[s.TIMESTAMP])[s.TIMESTAMP].to_pylist()))
        ordered = sorted(pairs, key=lambda pair: pair[1])
        epochs = itertools.groupby(ordered, key=lambda pair: bisect_right(changes, pair[1]))
        for _, epoch in epochs:
            while part := list(itertools.islice(epoch, PAIRS_AT_ONCE)):
                yield part

    def read(self, feature: Feature, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
        """What Feast's point-in-time join finds for each pair, in their order.

        Raises:
            RowsLostError: it returned other rows than asked for.
        """
        key = feature.entity.join_key
        keys, moments = zip(*pairs, strict=True)
        asked = pa.table(
            {key: keys, MOMENT: pa.array(moments, pa.timestamp("us", "UTC")), _ROW: range(len(pairs))}
        ).to_pandas()
        job = self._scratch.feast.get_historical_features(asked, [f"{feature.name}:{name}" for name in feature.fields])
        got = job.to_arrow().sort_by(_ROW)
        if got[_ROW].to_pylist() != list(range(len(pairs))):
            raise RowsLostError(f"asked Feast for {len(pairs)} rows of {feature.name} and got {got.num_rows}")
        return got.select(list(feature.fields)).to_pylist()

    def on_demand(self) -> set[str]:
        """The views that Feast computes when they are asked for, out of the request's moment."""
        return {view.name for view in self._scratch.feast.list_on_demand_feature_views()}

    def read_on_demand(self, references: Sequence[str], moments: Sequence[datetime]) -> list[dict[str, Any]]:
        """What on-demand features, as `view:feature`, are in training rows of the moments, in their order."""
        asked = pd.DataFrame(
            [self._scratch.moment_keys(moment) | {MOMENT: moment, _ROW: row} for row, moment in enumerate(moments)]
        )
        asked[MOMENT] = asked[MOMENT].astype("datetime64[us, UTC]")
        got = self._scratch.feast.get_historical_features(asked, list(references)).to_arrow().sort_by(_ROW)
        return got.select([reference.partition(":")[2] for reference in references]).to_pylist()
