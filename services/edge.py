"""The outermost layer: bounds what comes in, and gives every error one shape.

It stands outside of BentoML's own layers, because those label their metrics with whatever path was asked for and
word their errors in several ways.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.messages import SHAPES, Failure, FailureAnswer, Health

MAX_BODY_BYTES = 2 * 1024 * 1024
BODY_WITHIN_S = 10.0
HEALTH_PATH = "/healthz"
MAX_FIELD_CHARS = 200

_STATUS = {
    404: ("not_found", "no such path"),
    405: ("method_not_allowed", "this path does not take this method"),
    408: ("too_slow", f"the body did not arrive within {BODY_WITHIN_S:.0f} s"),
    413: ("too_large", f"the body is larger than {MAX_BODY_BYTES} bytes"),
    415: ("unsupported_media_type", "expected Content-Type: application/json"),
    429: ("too_many_requests", "too many requests at once; try again"),
    503: ("not_available", "not available now; try again"),
    504: ("timeout", "the request took too long"),
}
# BentoML's page would load Google's tag manager; nobody's run of Kairos reports home.
_BROWSER = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_WORDING = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
}


def failure(status: int, message: str | None = None, *, retry_after_s: float | None = None) -> JSONResponse:
    """An error that is not about a field.

    Args:
        retry_after_s: when it is worth trying again.
    """
    code, usual = _STATUS.get(status, ("internal", "something went wrong here; it is in the service's log"))
    answer = _response(status, Failure(code=code, field="body" if status == 413 else None, message=message or usual))
    if retry_after_s is not None:
        answer.headers["Retry-After"] = str(math.ceil(retry_after_s))
    return answer


def bad_input(errors: Iterable[dict[str, Any]]) -> JSONResponse:
    """Pydantic's errors as one answer, which names the first field at fault."""
    first, *more = errors
    where = ".".join(str(part) for part in first["loc"] if part not in SHAPES)[:MAX_FIELD_CHARS] or "body"
    what = _WORDING.get(first["type"], first["msg"])
    rest = f" (and {len(more)} more)" if more else ""
    return _response(400, Failure(code=first["type"], field=where, message=f"{where}: {what}{rest}"))


def _response(status: int, error: Failure) -> JSONResponse:
    return JSONResponse(FailureAnswer(error=error).model_dump(), status_code=status)


def known_paths(app: Starlette) -> frozenset[str]:
    """Every path that the application serves, static files one by one."""
    paths: set[str] = set()
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, StaticFiles):
            for folder in map(str, route.app.all_directories):
                paths.update(f"{route.path}/{name}" for name in _files(folder))
        elif isinstance(route, Route):
            paths.add(route.path)
    return frozenset(paths)


def _files(folder: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()]


class Edge:
    """ASGI layer around the whole application."""

    def __init__(self, app: ASGIApp, *, paths: Collection[str], health: Callable[[], Awaitable[Health | None]]) -> None:
        """
        Args:
            app: what is inside.
            paths: the paths that exist; the rest is answered here.
            health: how the service is; None before it has started.
        """
        self._app = app
        self._paths = frozenset(paths)
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = await self._answer(scope, receive)
        shaped = _Reshape(scope, receive, send)
        if isinstance(answer, JSONResponse):
            await answer(scope, receive, shaped.safely)
        else:
            await self._app(scope, answer, shaped)

    async def _answer(self, scope: Scope, receive: Receive) -> JSONResponse | Receive:
        """The answer if it can be given here, else the body, read, as the application will receive it."""
        path = scope["path"]
        if path not in self._paths:
            return failure(404)
        if path == HEALTH_PATH and scope["method"] in ("GET", "HEAD"):
            health = await self._health()
            if health is None:
                return failure(503)
            return JSONResponse(health.model_dump(), status_code=503 if health.status == "down" else 200)
        media_type = Headers(scope=scope).get("content-type", "application/json").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and media_type != "application/json":
            return failure(415)
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await _read(scope, receive)
        except TimeoutError:
            return failure(408)
        return failure(413) if body is None else _replay(body, receive)


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    announced = Headers(scope=scope).get("content-length", "0")
    if not announced.isdecimal() or int(announced) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class _Reshape:
    """Passes successes on; holds back an error until it is whole, and sends it in our shape."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._status = 0
        self._kept: dict[str, str] = {}
        """Headers that the error keeps."""
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._status = message["status"]
            headers = Headers(raw=message["headers"])
            self._kept = {name: headers[name] for name in ("Retry-After",) if name in headers}
        elif not self._status or message["type"] != "http.response.body":
            await self.safely(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._shaped()(self._scope, self._receive, self.safely)

    async def safely(self, message: Message) -> None:
        """Send with the headers that tell a browser what it may do."""
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"]).update(_BROWSER)
        await self._send(message)

    def _shaped(self) -> JSONResponse:
        try:
            content = json.loads(self._body)
        except ValueError:
            content = None
        if isinstance(content, dict) and isinstance(content.get("error"), dict):
            return JSONResponse(content, status_code=self._status, headers=self._kept)
        if isinstance(content, dict) and isinstance(content.get("detail"), list) and content["detail"]:
            return bad_input(content["detail"])
        return failure(self._status)


class NotTheClients(logging.Filter):
    """Keeps bad requests out of the log: BentoML writes a stack trace for each, and they are the client's to mend."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] and issubclass(record.exc_info[0], ValidationError))
