"""What the online store knows of one user at this moment: the values, how old they are, and which no longer hold.

Feast's own read asks the store once per view and builds a response of protobuf messages, value by value. A reader here
asks once for all views, through the store's own `read_rows`, and gives what Feast would give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from feast import FeatureStore, FeatureView
from feast.errors import FeatureNameCollisionError

from feature_repo.errors import UnknownFeatureError
from feature_repo.online_store.base import FoundRow, RowsOnlineStore, Wanted
from feature_repo.online_values import entity_key, feast_value


@dataclass(frozen=True)
class ViewRow:
    """One view's part of an `OnlineRow`."""

    values: dict[str, Any]
    moment: datetime | None
    """None: the store has no row, or nothing of the view is stored."""
    is_expired: bool


@dataclass(frozen=True)
class OnlineRow:
    """One user's features as read."""

    values: dict[str, Any]
    """Feature -> value; None for what the store does not know, or knew too long ago."""
    moments: dict[str, datetime]
    """View -> the moment that its values are true for, expired ones included; views without a row are missing."""
    expired: frozenset[str]
    """Views whose row is older than their `ttl`."""

    def by_view(self, features: Sequence[str]) -> dict[str, ViewRow]:
        """The row view by view, in the order of `features`, which are the `view:feature` that it was read with."""
        return {
            view: ViewRow(
                {name: self.values[name] for name in names}, self.moments.get(view), is_expired=view in self.expired
            )
            for view, names in grouped(features).items()
        }


class OnlineReader:
    """Reads the same features of any user; whatever depends on the list alone is looked up once."""

    def __init__(self, feast: FeatureStore, features: Sequence[str], ttl: Mapping[str, timedelta]) -> None:
        """
        Args:
            features: as `view:feature`: views of one entity each, and on-demand views that need nothing stored.
            ttl: how long the views' values hold; a view that is missing never expires.

        Raises:
            FeastError: Feast does not know a view, or two features have one name.
            UnknownFeatureError: a view has no such feature.
        """
        self._config = feast.config
        self._store = cast(RowsOnlineStore, feast._get_provider().online_store)
        self._ttl = ttl
        self._views: list[tuple[FeatureView, str, list[str]]] = []
        """View, join key and features."""
        self._computed: list[tuple[Callable[..., dict[str, Any]], list[str], list[str]]] = []
        """The function that Feast calls, what it reads of the request, and features."""
        on_demand = {view.name: view for view in feast.list_on_demand_feature_views()}
        for name, names in grouped(features).items():
            view = on_demand.get(name) or feast.get_feature_view(name)
            if lacking := sorted(set(names).difference(field.name for field in view.features)):
                raise UnknownFeatureError(
                    f"view {name} has no {', '.join(lacking)}: run `kairos features`, or train anew"
                )
            if name in on_demand:
                self._computed.append((view.feature_transformation.udf, list(view.get_request_data_schema()), names))
            else:
                [join_key] = view.join_keys
                self._views.append((view, join_key, names))
        self._join_keys = sorted({join_key for _, join_key, _ in self._views})
        bare = [name for _, _, names in (*self._views, *self._computed) for name in names]
        if twice := sorted({name for name in bare if bare.count(name) > 1}):
            raise FeatureNameCollisionError([name for name in features if name.partition(":")[2] in twice], False)

    def read(self, told: Mapping[str, Any], now: datetime) -> OnlineRow:
        """One row.

        Args:
            told: the values of the views' join keys, and what the on-demand views read of the request.
            now: the moment of asking.

        Raises:
            OnlineStoreDownError: the store cannot be reached.
        """
        return self._row(self._store.read_rows(self._config, self._wanted(told)), told, now)

    async def read_async(self, told: Mapping[str, Any], now: datetime) -> OnlineRow:
        """As `read`, without blocking the event loop."""
        return self._row(await self._store.read_rows_async(self._config, self._wanted(told)), told, now)

    def _wanted(self, told: Mapping[str, Any]) -> list[Wanted]:
        keys = {join_key: [entity_key(join_key, told[join_key])] for join_key in self._join_keys}
        return [(view, keys[join_key], names) for view, join_key, names in self._views]

    def _row(self, found: Sequence[Sequence[FoundRow]], told: Mapping[str, Any], now: datetime) -> OnlineRow:
        values: dict[str, Any] = {}
        moments: dict[str, datetime] = {}
        expired: set[str] = set()
        for (view, _, names), [(at, row)] in zip(self._views, found, strict=True):
            if at is not None and row is not None and at.timestamp():
                moments[view.name] = at
                if view.name in self._ttl and at < now - self._ttl[view.name]:
                    expired.add(view.name)
                    row = None  # Feast gives expired values as if they were fresh; a point-in-time join does not
            if row is None:
                values |= dict.fromkeys(names)
            else:
                for name in names:
                    values[name] = feast_value(row[name])
        for function, inputs, names in self._computed:
            made = function({name: [told[name]] for name in inputs})
            values |= {name: made[name][0] for name in names}
        return OnlineRow(values, moments, frozenset(expired))


def grouped(features: Sequence[str]) -> dict[str, list[str]]:
    """View -> its features, of a list of `view:feature`."""
    views: dict[str, list[str]] = {}
    for view, _, feature in (name.partition(":") for name in features):
        views.setdefault(view, []).append(feature)
    return views
