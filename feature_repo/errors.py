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


class OnlineStoreDownError(FeatureError):
    """The online store cannot be reached, or refuses to work."""


class RegistryDownError(FeatureError):
    """Feast's registry cannot be reached, or refuses to work."""


class FeatureFileError(FeatureError):
    """Feature files are wrong; one line per problem, nothing was registered."""


class UnknownFeatureError(FeatureError):
    """No feature of that name, or one that has no snapshots at moments."""


class UnknownValueError(FeatureError):
    """Nothing is known of an entity at a moment."""


class UnheldValueError(FeatureError, ValueError):
    """A computed value is not of the type that its field declares."""


class LiveFeatureError(FeatureError):
    """A change would take away what a model in service reads."""


class FeaturesBusyError(FeatureError):
    """Another process is writing snapshots or the registry; one writer at a time."""


class DiskFullError(FeatureError):
    """No room for a file; what was there before is whole."""


class BackfillRangeError(FeatureError):
    """A range without a moment in it."""


class SparkError(FeatureError):
    """Spark cannot be started, or failed at its work."""


class ReplayTooLongError(FeatureError):
    """A replay of more events than the lake holds, or of all of them."""


class DamagedTableError(FeatureError):
    """A version of the packed item table that cannot be read."""


class RegistryBehindError(FeatureError):
    """A feature file and what Feast knows of it differ."""


class NoRequestsError(FeatureError):
    """No requests were logged that could be compared."""


class EventLogFullError(FeatureError):
    """The event log has no room; what it holds is whole, and nothing was added."""


class EventLogDownError(FeatureError):
    """The event log cannot be reached or written."""
