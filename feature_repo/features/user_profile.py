"""Who a user says to be."""

from __future__ import annotations

from feast.types import String
from ibis.expr.types import Table

from feature_repo.feature import MOMENT, USER, Feature
from feature_repo.schema import PROFILE_COLUMNS, TIMESTAMP


def user_profile(users: Table) -> Table:
    """The users table's columns, from the moment on from which they were true."""
    return users.mutate(**{MOMENT: users[TIMESTAMP]})


FEATURE = Feature(
    name="user_profile",
    entity=USER,
    reads="users",
    compute=user_profile,
    fields=dict.fromkeys(PROFILE_COLUMNS, String),
    description="Demographics, as far as known",
)
