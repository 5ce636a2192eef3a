"""The OpenAPI document. Ours alone: BentoML's knows neither our errors nor the keys, and describes paths of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.endpoints import ALIASES, ENDPOINTS, Endpoint
from services.failures import failure
from services.messages import FailureAnswer, Health

OPENAPI: Final = "3.1.0"
_REF: Final = "#/components/schemas/{model}"
_ABOUT: Final = """Recommendations that know the last click.

A path without a version means its newest one. Where keys are in force, each call needs one, in
`Authorization: Bearer KEY` or in `X-API-Key`. Every answer that is not a success has the same shape, and its `code` is
one of a closed list."""
_FAILURES: Final = {
    400: "The body is not what was expected; `field` names what is wrong",
    401: "There is no key, or nobody knows it",
    403: "The key does not have the right",
    405: "Only POST is taken",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "More requests than this client may send",
    503: "There is no model, or the part that is needed is down",
    504: "It took too long",
}
_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "seconds until it is worth trying again",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_CHALLENGE: Final = {"WWW-Authenticate": {"description": "how to come with a key", "schema": {"type": "string"}}}
_ALLOW: Final = {"Allow": {"description": "the methods that are taken", "schema": {"type": "string"}}}
_HEADERS: Final[Mapping[int, Any]] = {401: _CHALLENGE, 405: _ALLOW, 429: _RETRY_AFTER, 503: _RETRY_AFTER}


class Document:
    """The specification in the form that BentoML asks for it."""

    def __init__(self, version: str | None, *, keys_in_force: bool) -> None:
        """
        Args:
            version: of the Bento; None: there is none.
            keys_in_force: whether a call without a key is refused.
        """
        self._version = version
        self._security: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
        if not keys_in_force:
            self._security.insert(0, {})

    def asdict(self) -> dict[str, Any]:
        """The whole document, made of plain data."""
        paths = {endpoint.path: {"post": _operation(endpoint)} for endpoint in ENDPOINTS}
        for alias, path in ALIASES.items():
            operation = paths[path]["post"]
            paths[alias] = {"post": {**operation, "operationId": f"{operation['operationId']}_newest"}}
        messages = {model for endpoint in ENDPOINTS for model in (endpoint.request, endpoint.answer)}
        return {
            "openapi": OPENAPI,
            "info": {"title": "Kairos", "description": _ABOUT, "version": self._version or "development"},
            "servers": [{"url": "."}],
            "tags": [{"name": "v1"}, {"name": "probes"}],
            "security": self._security,
            "paths": paths | {"/healthz": {"get": _health()}},
            "components": {
                "schemas": _schemas([*sorted(messages, key=lambda model: model.__name__), FailureAnswer, Health]),
                "responses": {f"Failure{status}": _failure(status) for status in _FAILURES},
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                },
            },
        }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    name = endpoint.path.removeprefix("/v1/").replace("/", "_")
    return {
        "operationId": name,
        "summary": endpoint.summary,
        "description": f"Needs the right `{endpoint.right}` where keys are in force.",
        "tags": ["v1"],
        "requestBody": {"required": True, "content": _content(endpoint.request)},
        "responses": {
            "200": {"description": (endpoint.answer.__doc__ or "").strip(), "content": _content(endpoint.answer)},
            **{str(status): {"$ref": f"#/components/responses/Failure{status}"} for status in _FAILURES},
        },
    }


def _health() -> dict[str, Any]:
    return {
        "operationId": "healthz",
        "summary": "How the service is, in words.",
        "tags": ["probes"],
        "security": [],
        "responses": {
            "200": {"description": "It answers; if `degraded`, from a lower rung", "content": _content(Health)},
            "405": {"$ref": "#/components/responses/Failure405"},
            "503": {
                "description": "It does not answer; as an error while it still starts",
                "content": {"application/json": {"schema": {"anyOf": [_ref(Health), _ref(FailureAnswer)]}}},
            },
        },
    }


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "application/json": {
            "schema": _ref(model),
            "example": model.model_json_schema()["example"],
        }
    }


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}


def _failure(status: int) -> dict[str, Any]:
    usual = failure(status) if status != 400 else None
    content = _content(FailureAnswer)
    if usual:
        content["application/json"]["example"] = json.loads(bytes(usual.body))
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    return {"description": _FAILURES[status], "content": content, **headers}


def _schemas(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    return schemas


# `bentoml build` writes the specification into the Bento.
yaml.add_representer(Document, lambda dumper, document: dumper.represent_dict(document.asdict()))
