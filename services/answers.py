"""Messages on their way out."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from services.errors import ServiceError
from services.failures import failure_of
from services.metrics import stage


async def answered(work: Awaitable[BaseModel]) -> Response:
    """What an endpoint sends: the message as JSON, or the error that has a name.

    Made here, because BentoML would validate the message once more on its way out.
    """
    try:
        message = await work
    except ServiceError as error:
        return failure_of(error)
    except ValidationError as error:
        # Of a message of ours: BentoML would take it for the client's fault. Without its values, it is for the log.
        faults = [(fault["loc"], fault["type"]) for fault in error.errors(include_input=False, include_context=False)]
        raise RuntimeError(f"an answer is not what it should be: {error.title}, {faults}") from None
    with stage("answer"):
        body = message.model_dump_json()
    return Response(body, HTTPStatus.OK, media_type="application/json")
