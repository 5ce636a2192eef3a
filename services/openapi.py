"""What BentoML's OpenAPI page cannot know by itself."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from services.messages import FailureAnswer, Health

BENTOML_ERRORS = ("InvalidArgument", "NotFound", "InternalServerError")
_REF = "#/components/schemas/{model}"


class Document:
    """BentoML's specification with our health answer, and our error body in the place of its own."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec

    def asdict(self) -> dict[str, Any]:
        content: dict[str, Any] = self._spec.asdict()
        schemas = content["components"]["schemas"]
        health, failure = _schema(Health, schemas), _schema(FailureAnswer, schemas)
        schemas |= dict.fromkeys(BENTOML_ERRORS, failure)
        answers = {
            str(status): {"description": what, "content": {"application/json": {"schema": health}}}
            for status, what in ((200, "It answers; if `degraded`, from a lower rung"), (503, "It does not answer"))
        }
        content["paths"]["/healthz"] = {
            "get": {"tags": ["Infrastructure"], "description": "How the service is, in words", "responses": answers}
        }
        return content


def _schema(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REF)
    schemas |= schema.pop("$defs", {})
    return schema


# `bentoml build` writes the specification into the Bento.
yaml.add_representer(Document, lambda dumper, document: dumper.represent_dict(document.asdict()))
