"""The service's named errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any


class ServiceError(RuntimeError):
    """Base of what the service tells its client."""

    status: int = HTTPStatus.SERVICE_UNAVAILABLE
    """The answer's HTTP status."""
    retry_after_s: float | None = None
    """When it is worth trying again; None: nobody knows."""


class BadInputError(ServiceError):
    """A request that is well formed and cannot be true."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, details: Sequence[Mapping[str, Any]]) -> None:
        """
        Args:
            details: in pydantic's form: `type`, `loc`, `msg`.
        """
        super().__init__("; ".join(str(detail["msg"]) for detail in details))
        self.details = details


class NoModelError(ServiceError):
    """No bundle is in service, so nothing can be recommended."""

    def __init__(self) -> None:
        super().__init__("no model in service: run `kairos train` and `kairos publish`, or `kairos demo`")


class NotDurableError(ServiceError):
    """The event log cannot be reached or written; the client must send the events again."""

    retry_after_s = 1.0


class LogFullError(ServiceError):
    """The event log has no room; none of the events were taken."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    retry_after_s = 30.0


class ThrottledError(ServiceError):
    """Too many events wait, for the log or for the features; none of these were taken."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    retry_after_s = 2.0


class StoreAwayError(ServiceError):
    """The online store cannot be read, and what was asked for is in it alone."""

    retry_after_s = 1.0


class StoreDownError(RuntimeError):
    """The online store cannot be read or written now; never leaves the service."""
