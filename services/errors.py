"""The service's named errors."""

from __future__ import annotations

from typing import ClassVar


class ServiceError(RuntimeError):
    """Base of what the service tells its client as "not available now"."""

    status: ClassVar[int] = 503
    retry_after_s: ClassVar[int | None] = None
    """When it is worth trying again; None: nobody knows."""


class NoModelError(ServiceError):
    """No bundle is in service, so nothing can be recommended."""


class NotDurableError(ServiceError):
    """The event log cannot be reached or written; the client must send the events again."""

    retry_after_s = 1


class LogFullError(ServiceError):
    """The event log has no room; none of the events were taken."""

    status = 429
    retry_after_s = 30


class ThrottledError(ServiceError):
    """Too many events wait, for the log or for the features; none of these were taken."""

    status = 429
    retry_after_s = 2


class StoreDownError(RuntimeError):
    """The online store cannot be read or written now; never leaves the service."""
