"""The service's named errors."""

from __future__ import annotations


class ServiceError(RuntimeError):
    """Base of what the service tells its client as "not available now"."""


class NoModelError(ServiceError):
    """No bundle is in service, so nothing can be recommended."""


class NotDurableError(ServiceError):
    """The event log cannot be written; the client must send the events again."""


class StoreDownError(RuntimeError):
    """The online store cannot be read or written now; never leaves the service."""
