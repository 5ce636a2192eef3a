"""Messages on their way out."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import Response

from services.errors import ServiceError
from services.failures import failure_of


async def answered(work: Awaitable[BaseModel]) -> Response:
    """What an endpoint sends: the message as JSON, or the error that has a name.

    Made here, because BentoML would validate the message once more on its way out.
    """
    try:
        message = await work
    except ServiceError as error:
        return failure_of(error)
    return Response(message.model_dump_json(), HTTPStatus.OK, media_type="application/json")
