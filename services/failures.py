"""Every answer that is not a success, in one shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from services.errors import BadInputError, ServiceError
from services.messages import CODES, SHAPES, Code, Failure, FailureAnswer

MAX_BODY_BYTES = 2 * 1024 * 1024
BODY_WITHIN_S = 10.0
MAX_FIELD_CHARS = 200
RETRY_AFTER_S = 1.0
"""What a client is told that should come back, where nobody knows better."""

_USUAL = {
    401: (Code.UNAUTHENTICATED, "expected a key that is known here, in Authorization: Bearer KEY or in X-API-Key: KEY"),
    403: (Code.FORBIDDEN, "this key does not have the right to do this"),
    404: (Code.NOT_FOUND, "no such path"),
    405: (Code.METHOD_NOT_ALLOWED, "this path does not take this method"),
    408: (Code.TOO_SLOW, f"the body did not arrive within {BODY_WITHIN_S:.0f} s"),
    413: (Code.TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes"),
    415: (Code.UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json"),
    429: (Code.TOO_MANY_REQUESTS, "too many requests at once; try again"),
    503: (Code.NOT_AVAILABLE, "not available now; try again"),
    504: (Code.TIMEOUT, "the request took too long"),
}
_INTERNAL = (Code.INTERNAL, "something went wrong here; it is in the service's log")
_WORDING = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
}


def failure(
    status: int,
    message: str | None = None,
    *,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error that is not about a field.

    Args:
        status: HTTP's; one that is not in the documented list is an internal error.
        message: for people; None: the status' usual one.
        retry_after_s: for 429 and 503, when to come back; None: soon.
        headers: sent along.
    """
    code, usual = _USUAL.get(status, _INTERNAL)
    told = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        told["WWW-Authenticate"] = 'Bearer realm="kairos"'
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) and "retry-after" not in told:
        told["Retry-After"] = str(max(1, math.ceil(RETRY_AFTER_S if retry_after_s is None else retry_after_s)))
    field = "body" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
    return _response(status, Failure(code=code, field=field, message=message or usual), told)


def failure_of(error: ServiceError) -> JSONResponse:
    """What a client is told of a named error."""
    if isinstance(error, BadInputError):
        return bad_input(error.details)
    return failure(error.status, str(error), retry_after_s=error.retry_after_s)


def bad_input(errors: Iterable[Mapping[str, Any]]) -> JSONResponse:
    """Pydantic's errors as one answer, which names the first field at fault."""
    first, *more = errors
    where = ".".join(str(part) for part in first["loc"] if part not in SHAPES)[:MAX_FIELD_CHARS] or "body"
    what = _WORDING.get(first["type"], first["msg"])
    rest = f" (and {len(more)} more)" if more else ""
    code = CODES.get(first["type"], Code.INVALID_VALUE)
    return _response(HTTPStatus.BAD_REQUEST, Failure(code=code, field=where, message=f"{where}: {what}{rest}"))


def _response(status: int, error: Failure, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(FailureAnswer(error=error).model_dump(), status_code=status, headers=headers)
