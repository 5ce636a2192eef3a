"""Which features are asked for together: a model's and a request's by the entities that they know."""

from __future__ import annotations

from typing import Final

from feast import Entity

from feature_repo.feature import ITEM, TIME_OF_WEEK, USER

ITEM_SERVICE: Final = "items_v1"
"""What a model knows of an item; packed into its bundle."""
USER_SERVICE: Final = "ranking_v1"
"""What a model knows of a user and of the moment; read once per request."""
SERVICES: Final[dict[str, tuple[Entity, ...]]] = {USER_SERVICE: (USER, TIME_OF_WEEK), ITEM_SERVICE: (ITEM,)}
"""Feature service -> the entities whose features it holds. Within one, Feast joins by the fields' bare names."""
