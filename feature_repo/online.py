"""What the online store knows of one user at this moment: the values, how old they are, and which no longer hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.type_map import feast_value_type_to_python_type


@dataclass(frozen=True)
class OnlineRow:
    """One user's features as read."""

    values: dict[str, Any]
    """Feature -> value; None for what the store does not know, or knew too long ago."""
    moments: dict[str, datetime]
    """View -> the moment that its values are true for, expired ones included; views without a row are missing."""
    expired: frozenset[str]
    """Views whose row is older than their `ttl`."""


def online_row(
    response: OnlineResponse, asked: Sequence[str], ttl: Mapping[str, timedelta], now: datetime
) -> OnlineRow:
    """The first entity's row of a response.

    Feast gives expired values as if they were fresh. Here they become None, as a point-in-time join makes them.

    Args:
        response: Feast's.
        asked: the features that were asked for, as `view:feature`.
        ttl: how long the views' values hold; a view that is missing never expires.
        now: the moment of asking.
    """
    view_of = {feature: view for view, _, feature in (name.partition(":") for name in asked)}
    values: dict[str, Any] = {}
    moments: dict[str, datetime] = {}
    expired: set[str] = set()
    for name, vector in zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True):
        view = view_of.get(name)
        if view is None:  # a join key
            continue
        at = vector.event_timestamps[0].ToDatetime(UTC) if vector.event_timestamps else None
        if at and vector.statuses[0] != FieldStatus.NOT_FOUND and at.timestamp():
            moments[view] = at
            if view in ttl and at < now - ttl[view]:
                expired.add(view)
        values[name] = None if view in expired else feast_value_type_to_python_type(vector.values[0])
    return OnlineRow(values, moments, frozenset(expired))
