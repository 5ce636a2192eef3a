"""How the service is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_HEALTH: JsonDict = {
    "status": "ok",
    "model_version": "2hz3xkqyt2ekr6vj",
    "online_store": "up",
    "events_waiting": 0,
    "items_as_of": "2017-12-31T11:59:20+00:00",
    "now": "2017-12-31T12:00:00+00:00",
}


class Health(BaseModel):
    """How the service is; `degraded` still answers, from a lower rung."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_extra={"example": _HEALTH})

    status: Literal["ok", "degraded", "down"]
    model_version: str | None
    online_store: Literal["up", "down"]
    events_waiting: int = Field(description="durable events that the features do not know yet")
    items_as_of: str | None = Field(description="as of when the item features are, UTC; null: nobody knows")
    now: str = Field(description="the service's clock, UTC")
