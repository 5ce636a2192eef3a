"""What the feature store knows of a user, for the user's own page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from feature_repo.clock import Clock
from feature_repo.online import OnlineRow
from models.state import UserState
from services.champion import ChampionWatch
from services.errors import NoModelError, StoreAwayError, StoreDownError
from services.messages import ProfileAnswer, ProfileRequest, ProfileView
from services.online import OnlineFeatures


class Profiles:
    """Shows what the model in service would read."""

    def __init__(self, champions: ChampionWatch, online: OnlineFeatures, clock: Clock) -> None:
        self._champions = champions
        self._online = online
        self._clock = clock

    async def answer(self, request: ProfileRequest) -> ProfileAnswer:
        """The user's row, view by view.

        Raises:
            NoModelError: there is no model, so nobody knows which features count.
            StoreAwayError: the store cannot be read now.
        """
        served = self._champions.current
        if served is None:
            raise NoModelError
        now = self._clock.now()
        try:
            row = await self._online.row(request.user_id, served.features, now)
        except StoreDownError as error:
            raise StoreAwayError("the online store cannot be read now, and the profile is in it alone") from error
        return ProfileAnswer(
            user_id=request.user_id,
            user_known=not UserState.from_row(request.user_id, row.values, now.timestamp()).is_unknown,
            now=now,
            model_version=served.version,
            views=_views(served.features, row),
        )


def _views(features: Sequence[str], row: OnlineRow) -> list[ProfileView]:
    names: dict[str, list[str]] = {}
    for view, _, name in (feature.partition(":") for feature in features):
        names.setdefault(view, []).append(name)
    return [
        ProfileView(
            view=view, at=row.moments.get(view), expired=view in row.expired, values=_plain_values(row.values, columns)
        )
        for view, columns in names.items()
    ]


def _plain_values(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: _plain(values.get(name)) for name in names}


def _plain(value: Any) -> Any:
    """What JSON can hold: it has no NaN."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
