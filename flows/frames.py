"""Point-in-time frames out of Feast: what was known at a cut, as models take it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa

from feature_repo import schema as s
from feature_repo.store import Features
from flows.feature_readers import live_features
from flows.features import refuse_breaking
from flows.timeline import just_before
from models.list_builder import Snapshot
from models.state import UserState


def states_at(
    features: Features, events: pa.Table, cut: datetime, users: Sequence[str] | None = None
) -> list[UserState]:
    """What was known of users at a cut, through a point-in-time join; None: of all who had done something before it."""
    users = _seen(events, s.USER_ID, cut) if users is None else users
    at = cut.timestamp()
    frame = features.users_at(users, just_before(cut))
    rows = zip(*(frame[column] for column in frame), strict=True)
    return [
        UserState.from_row(user, dict(zip(frame.columns, row, strict=True)), at)
        for user, row in zip(users, rows, strict=True)
    ]


def items_at(features: Features, events: pa.Table, cut: datetime) -> pd.DataFrame:
    """What was known at a cut of every item seen before it, with its `item_id`."""
    return features.items_at(_seen(events, s.ITEM_ID, cut), just_before(cut)).reset_index()


def _seen(events: pa.Table, column: str, cut: datetime) -> list[str]:
    past = events.filter(pa.compute.less(events[s.TIMESTAMP], pa.scalar(cut, events[s.TIMESTAMP].type)))
    return sorted(past[column].unique().to_pylist())


def catch_up(features: Features, moments: Sequence[datetime]) -> None:
    """Compute the snapshots of moments that are not up to date with the lake.

    The cuts move with the newest event: without this a frame would silently come from an older moment.
    """
    refuse_breaking(features.settings)
    features.compute(moments)
    features.apply(live_features(features.settings))


def snapshot_at(features: Features, events: pa.Table, cut: datetime, users: Sequence[str] | None = None) -> Snapshot:
    """What was known at a cut of every item seen before it, and of users as in `states_at`."""
    return Snapshot(cut.timestamp(), states_at(features, events, cut, users), items_at(features, events, cut))
