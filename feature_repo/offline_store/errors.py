"""What can go wrong in the offline store; every message says what to do next."""

from __future__ import annotations

from feast.errors import FeastError


class OfflineStoreError(FeastError):
    """Base of the errors of this package."""


class EntityFrameError(OfflineStoreError):
    """The entity frame cannot be joined as it is."""


class SourceError(OfflineStoreError):
    """A data source cannot be read, or written, or does not hold what the view wants."""
