"""What can go wrong with features; every message says what to do next."""

from __future__ import annotations


class FeatureError(RuntimeError):
    """Base of the errors of this package."""


class EmptyLakeError(FeatureError):
    """There are no events to compute features from."""


class NotMaterializedError(FeatureError):
    """Feast knows no features yet."""


class RowsLostError(FeatureError):
    """A point-in-time join returned other rows than it was asked for."""
