"""The online side: rows as the service reads them, each with the moment that it is true for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values

from feature_repo.feature import Feature
from feature_repo.online_store.base import RowsOnlineStore
from feature_repo.online_values import python_value
from feature_repo.store import Features


@dataclass(frozen=True)
class Observed:
    """A view's online row of one entity."""

    feature: Feature
    key: Any
    at: datetime
    """When it was read."""
    moment: datetime | None
    """What it is true for; None: there is no row."""
    values: dict[str, Any]

    @property
    def true_for(self) -> datetime:
        """The moment of the offline row that it must equal; where there is none online, there must be none either."""
        return self.moment or self.at

    @property
    def has_expired(self) -> bool:
        """Whether the value held no longer when it was read, so that it counted as unknown."""
        ttl = self.feature.ttl
        return bool(ttl and self.moment and self.at - self.moment > ttl)


class OnlineRows:
    """Reads rows of many views and entities in one round trip."""

    def __init__(self, features: Features) -> None:
        self._feast = features.feast
        self._store = cast(RowsOnlineStore, features.feast._get_provider().online_store)

    def read(self, features: Sequence[Feature], keys: Sequence[Any], at: datetime) -> list[Observed]:
        """The rows of every entity in every view; the views have one entity type."""
        wanted = [
            (self._feast.get_feature_view(feature.name), [_entity_key(feature, key) for key in keys], None)
            for feature in features
        ]
        found = self._store.read_rows(self._feast.config, wanted)
        return [
            Observed(feature, key, at, moment, _values(feature, row))
            for feature, rows in zip(features, found, strict=True)
            for key, (moment, row) in zip(keys, rows, strict=True)
        ]


def _values(feature: Feature, row: Mapping[str, Value] | None) -> dict[str, Any]:
    return {name: python_value(row[name]) if row else None for name in feature.fields}


def _entity_key(feature: Feature, key: Any) -> EntityKey:
    [value] = python_values_to_proto_values([key], feature.entity.value_type)
    return EntityKey(join_keys=[feature.entity.join_key], entity_values=[value])
